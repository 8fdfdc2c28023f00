//! TLS: the operator's own authority, a pinned certificate, and neither.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::listener::Listener;
use mainstay_e2e::proof::{hear, unbroken};
use mainstay_e2e::settings::{Mount, Output, Settings};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use units::Codec;
use units::snapshot::Role;

use crate::stage::{SOON, metronome};

/// An authority of our own: its certificate as a file, and a server's certificate and key that it signed, as another.
pub(crate) struct Authority {
    pub(crate) certificate: PathBuf,
    pub(crate) server: PathBuf,
}

pub(crate) fn authority(folder: &Path, name: &str) -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let own = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?
        .signed_by(&server_key, &issuer)?;
    let paths = Authority {
        certificate: folder.join(format!("{name}.pem")),
        server: folder.join(format!("{name}-server.pem")),
    };
    std::fs::write(&paths.certificate, own.pem())?;
    std::fs::write(&paths.server, server.pem() + &server_key.serialize_pem())?;
    Ok(paths)
}

/// The SHA-256 of a certificate as openssl prints it.
fn fingerprint(certificate: &Path) -> Result<String> {
    let output = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let hex = text.trim().rsplit('=').next().unwrap_or_default().replace(':', "");
    ensure!(hex.len() == 64, "openssl said {text:?}");
    Ok(hex)
}

#[test]
fn an_own_authority_and_a_pin_are_trusted_and_nobody_else() -> Result<()> {
    let (folder, input) = metronome()?;
    let ours = authority(folder.path(), "ours")?;
    let theirs = authority(folder.path(), "theirs")?;
    let server = Headend { tls: Some(ours.server.clone()), ..Headend::default() }.start()?;
    let mount = |path: &str, tls: String| Mount::icecast(server.tls_url(path), Codec::Mp3, 320).with(&tls);
    let pin = fingerprint(&ours.server)?;
    let trusted = mount("/live", format!("tls = {{ ca = \"{}\" }}", ours.certificate.display()));
    let outputs = vec![
        Output::alone("authority", trusted.clone()),
        Output::alone("pin", mount("/pinned", format!("tls = {{ pin = \"sha256:{pin}\" }}"))),
        Output::alone("wrong-pin", mount("/a", format!("tls = {{ pin = \"sha256:{}\" }}", "0".repeat(64)))),
        Output::alone(
            "stranger",
            mount("/b", format!("tls = {{ ca = \"{}\" }}", theirs.certificate.display())),
        ),
        Output::alone("system", mount("/c", String::new())),
    ];
    let daemon = Daemon::start(&Settings { outputs, ..Settings::new(input, Output::live(&server)) })?;
    let verified = [units::snapshot::MountState::Verified];
    daemon.wait_for_state("authority", Role::Primary, &verified, SOON)?;
    daemon.wait_for_state("pin", Role::Primary, &verified, SOON)?;

    let status = daemon.wait_for("the strangers are refused", SOON, |status| {
        status.outputs[2..]
            .iter()
            .all(|output| output.mounts[0].remedy.is_some() && output.mounts[0].failures > 0)
    })?;
    for output in &status.outputs[2..] {
        let mount = &output.mounts[0];
        ensure!(mount.accepted == 0 && mount.written == 0 && !mount.state.on_air(), "{mount:?}");
        let remedy = mount.remedy.clone().unwrap_or_default().to_lowercase();
        ensure!(
            remedy.contains("certificate") || remedy.contains("authority") || remedy.contains("pin"),
            "{remedy}"
        );
    }
    for path in ["/a", "/b", "/c"] {
        ensure!(server.source(path)?.is_none(), "{path} is fed");
    }

    // What comes through TLS is the same stream.
    let listener = Listener::join(&server.url("/live"))?;
    hear(&listener, &trusted.rendition(), 10)?;
    unbroken(&listener, &trusted.rendition())?;
    Ok(())
}
