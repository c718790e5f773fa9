//! A certificate authority of the test's own, and what it and others sign.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// A server certificate with its key, as files.
#[derive(Debug, Clone)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Its files are gone with the value.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let dir = super::temp_dir();
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no name is a valid list of names");
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("the authority signs itself");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("the authority can be written");
        Self { issuer: Issuer::new(params, key), dir }
    }

    /// What clients trust.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A valid certificate for `name`.
    pub fn issue(&self, name: &str) -> Issued {
        self.sign(name, leaf(name))
    }

    /// One that ends on that day.
    pub fn issue_until(&self, name: &str, year: i32, month: u8, day: u8) -> Issued {
        let mut params = leaf(name);
        params.not_after = date_time_ymd(year, month, day);
        self.sign(&format!("{name}-until"), params)
    }

    /// One that was valid once.
    pub fn expired(&self, name: &str) -> Issued {
        let mut params = leaf(name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&format!("{name}-expired"), params)
    }

    /// One that nobody vouches for.
    pub fn self_signed(&self, name: &str) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = leaf(name).self_signed(&key).expect("it signs itself");
        write(self.dir.path(), &format!("{name}-self"), &certificate.pem(), &key)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        write(self.dir.path(), file, &certificate.pem(), &key)
    }
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is well-formed");
    params.distinguished_name.push(DnType::CommonName, "server of a test");
    params
}

fn write(dir: &Path, name: &str, certificate: &str, key: &KeyPair) -> Issued {
    let issued =
        Issued { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) };
    std::fs::write(&issued.certificate, certificate).expect("the certificate can be written");
    std::fs::write(&issued.key, key.serialize_pem()).expect("the key can be written");
    issued
}
