//! Every corpus file through its target, without fuzzing: each does what its name says.

use std::fs;
use std::path::Path;

use fuzz::TARGETS;

#[test]
fn every_seed_is_understood_or_not_as_its_name_says() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let (mut valid, mut invalid) = (0, 0);
        let folder = corpus.join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            println!("{name}/{file}");
            let understood = target(&fs::read(&path).unwrap());
            if file.starts_with("valid-") {
                valid += 1;
                assert!(understood, "{name}/{file} was not understood");
            } else if file.starts_with("invalid-") {
                invalid += 1;
                assert!(!understood, "{name}/{file} was understood");
            } else {
                panic!("{name}/{file}: a seed is called valid-* or invalid-*");
            }
        }
        assert!(valid > 0 && invalid > 0, "{name}: {valid} valid and {invalid} invalid seeds");
    }
}

#[test]
fn every_folder_has_its_target() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "corpus/{name} belongs to no target");
    }
}

/// Recordings come from outside: one large number in the wrong place must not end the replay in a panic.
#[test]
fn every_single_damage_to_a_recording_is_survived() {
    const SCRIPTS: [&[u8]; 6] = [
        b"C\x01Rrcgpw|pwpw",
        b"C\x0fRrcgpwpwt1::a\x00:a\x01pw|t2:pw:a\x03x\x05:Rrcgpw",
        b"C\x03RrcgpwpwC\x23:Rrcgph|o:+pw+z++++",
        b"C\x01RrcG\x02:RrcG\x02|:N:f\x04:Rf\x02:RrcG\x01",
        b"C\x83E\x03RrcgpppppppE\x00pz|.....:s:s:s:s:sw:s:s",
        b"C\x83E\x03RrcgpppppppE\x02ppp:::a\x00:p|pa\x01:L\x00:w:m:w:::",
    ];
    /// As long as these recordings are, about: places wrap round.
    const PLACES: u16 = 1024;
    for script in SCRIPTS {
        for (what, bits) in
            [(b'C', 0), (b'C', 1), (b'I', 0), (b'I', 1), (b'c', 1), (b'c', 0x80), (b'i', 1), (b't', 0)]
        {
            for place in 0..PLACES {
                let [high, low] = place.to_be_bytes();
                let damaged = [script, b"\n", &[what, high, low, bits]].concat();
                fuzz::recording::target(&damaged);
            }
        }
    }
}
