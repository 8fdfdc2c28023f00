//! How a server's certificate is judged: by the system's roots, the operator's own authority, or a pin; and at what time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use delivery::config::Trust;
use delivery::event::{Failure, Tls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use units::WallTime;

use crate::clock;

/// What every judgement rests on: the system's roots (read when the first TLS mount wants them) and the last known time.
#[derive(Debug)]
pub(crate) struct Judge {
    provider: Arc<CryptoProvider>,
    system: Option<Arc<RootCertStore>>,
    /// The latest time this box has known, from before the restart.
    saved: u64,
}

/// A connection about to be secured, and the flag that its certificate's date was let through.
pub(crate) struct Opening {
    pub connection: ClientConnection,
    pub date_ignored: Arc<AtomicBool>,
}

impl Judge {
    pub(crate) fn new(saved: u64) -> Self {
        Self { provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()), system: None, saved }
    }

    /// Prepares a TLS connection for `tls`.
    pub(crate) fn open(&mut self, tls: &Tls) -> Result<Opening, Failure> {
        let name = ServerName::try_from(tls.name.clone()).map_err(|_| Failure::WrongName)?;
        let identity = match &tls.trust {
            Trust::System => {
                let roots = self.system_roots()?;
                Identity::Roots(self.verifier(roots)?)
            }
            Trust::Authority { path, pem } => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).flatten() {
                    // One unreadable certificate in a bundle does not spoil the others.
                    let _ = roots.add(certificate);
                }
                if roots.is_empty() {
                    return Err(Failure::BadCertificate(format!(
                        "{path} holds no certificate that can be an authority"
                    )));
                }
                Identity::Roots(self.verifier(Arc::new(roots))?)
            }
            Trust::Pinned(pin) => Identity::Pinned(*pin),
        };
        let date_ignored = Arc::new(AtomicBool::new(false));
        let verifier = Verifier {
            provider: Arc::clone(&self.provider),
            identity,
            at: clock::build_time().max(self.saved).max(clock::system_seconds()),
            clock_known: clock::wall() != WallTime::Unknown,
            date_ignored: Arc::clone(&date_ignored),
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let connection =
            ClientConnection::new(Arc::new(config), name).map_err(|error| Failure::Tls(error.to_string()))?;
        Ok(Opening { connection, date_ignored })
    }

    fn system_roots(&mut self) -> Result<Arc<RootCertStore>, Failure> {
        if let Some(roots) = &self.system {
            return Ok(Arc::clone(roots));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Failure::BadCertificate(
                "this machine has no system certificates; install ca-certificates".to_string(),
            ));
        }
        Ok(Arc::clone(self.system.insert(Arc::new(roots))))
    }

    fn verifier(&self, roots: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, Failure> {
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Failure::Tls(error.to_string()))
    }
}

/// What a TLS error means for delivery.
pub(crate) fn failure(error: &Error) -> Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls' errors are open-ended")]
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Failure::UnknownAuthority
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Failure::WrongName,
        Error::InvalidCertificate(error) if is_date(error) => Failure::WrongDate,
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => Failure::PinMismatch,
        Error::InvalidCertificate(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            Failure::BadCertificate("it is an authority's own certificate; pin it (tls.pin)".to_string())
        }
        Error::InvalidCertificate(error) => Failure::BadCertificate(error.to_string()),
        other => Failure::Tls(other.to_string()),
    }
}

enum Identity {
    Roots(Arc<WebPkiServerVerifier>),
    Pinned([u8; 32]),
}

struct Verifier {
    provider: Arc<CryptoProvider>,
    identity: Identity,
    /// The later of build time, saved time and system time.
    at: u64,
    clock_known: bool,
    date_ignored: Arc<AtomicBool>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("at", &self.at)
            .field("clock_known", &self.clock_known)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = match &self.identity {
            Identity::Pinned(pin) => {
                let found = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, end_entity);
                return if found.as_ref() == pin {
                    Ok(ServerCertVerified::assertion())
                } else {
                    Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
                };
            }
            Identity::Roots(roots) => roots,
        };
        let judge = |at: u64| {
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
            roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
        };
        let verdict = judge(self.at);
        if self.clock_known {
            return verdict;
        }
        // The date may be wrong because the clock is: a certificate whose only fault is its date passes, and that is said.
        // Whether it is the only fault shows when it is judged at a time within its own dates (one more for each link of
        // the chain that has dates of its own).
        let mut judged = verdict;
        for _ in 0..CHAIN_DATES {
            let at = match &judged {
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                    not_after.as_secs()
                }
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before, ..
                })) => not_before.as_secs(),
                Ok(_) | Err(_) => break,
            };
            judged = judge(at);
            if judged.is_ok() {
                self.date_ignored.store(true, Ordering::Relaxed);
            }
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

const CHAIN_DATES: usize = 3;

fn is_date(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// A verifier that trusts a fresh authority, and that authority's certificate for `name` with the given years.
    fn judged(name: &str, years: (i32, i32), at: u64, clock_known: bool) -> (Result<(), Failure>, bool) {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let mut leaf = CertificateParams::new(vec![name.to_string()]).unwrap();
        leaf.not_before = date_time_ymd(years.0, 1, 1);
        leaf.not_after = date_time_ymd(years.1, 1, 1);
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca_cert.der().clone()).unwrap();
        let judge = Judge::new(0);
        let date_ignored = Arc::new(AtomicBool::new(false));
        let verifier = Verifier {
            provider: Arc::clone(&judge.provider),
            identity: Identity::Roots(judge.verifier(Arc::new(roots)).unwrap()),
            at,
            clock_known,
            date_ignored: Arc::clone(&date_ignored),
        };
        let server = ServerName::try_from("stream.example.org").unwrap();
        let unused = UnixTime::since_unix_epoch(Duration::ZERO);
        let verdict = verifier.verify_server_cert(leaf.der(), &[], &server, &[], unused);
        (verdict.map(drop).map_err(|error| failure(&error)), date_ignored.load(Ordering::Relaxed))
    }

    const IN_2026: u64 = 1_790_000_000;
    const NAME: &str = "stream.example.org";

    #[test]
    fn a_good_certificate_passes_whatever_the_clock() {
        assert_eq!(judged(NAME, (2025, 2030), IN_2026, true), (Ok(()), false));
        assert_eq!(judged(NAME, (2025, 2030), IN_2026, false), (Ok(()), false));
    }

    #[test]
    fn a_date_is_a_fault_only_when_the_clock_is_known() {
        for years in [(2010, 2011), (2040, 2041)] {
            assert_eq!(judged(NAME, years, IN_2026, true), (Err(Failure::WrongDate), false));
            assert_eq!(judged(NAME, years, IN_2026, false), (Ok(()), true));
        }
    }

    #[test]
    fn an_unknown_clock_excuses_no_other_fault() {
        assert_eq!(judged("other.example.org", (2010, 2011), IN_2026, false).0, Err(Failure::WrongName));
        assert_eq!(judged("other.example.org", (2025, 2030), IN_2026, false).0, Err(Failure::WrongName));
    }
}
