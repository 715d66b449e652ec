//! Stores signing certificates that were trusted, on disk beside the spool. After a restart the first
//! messages then need no fetch, for which they would have to compete with strangers.
//!
//! A stored certificate is trusted no more than one that a host sends: each is checked again when it is
//! read. So nothing depends on these files, and a fault of one costs a fetch and a log line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::origin::CertificateUrl;
use crate::aws::arn::TopicArn;

/// Most files that are read; a region gets a new certificate a few times a year.
const FILES_MAX: usize = 256;
/// Most bytes of a stored file, which holds two fetched files and the certificates that the host presented.
const FILE_BYTES_MAX: u64 = 128 << 10;

/// The directory with the stored certificates. Sources can share it.
#[derive(Clone, Debug)]
pub(super) struct CertificateStore {
    dir: PathBuf,
    /// Part of the name of a file while it is written, so that two sources do not write the same one.
    source: String,
}

/// A signing certificate, which comes first, and the certificates that lead from it to a trusted root.
pub(super) type Chain = Vec<CertificateDer<'static>>;

impl CertificateStore {
    pub(super) fn new(dir: &Path, source: &str) -> Self {
        Self { dir: dir.to_owned(), source: source.to_owned() }
    }

    /// Reads the stored certificates of these topics' regions.
    pub(super) fn read(&self, topics: &[TopicArn]) -> Vec<(CertificateUrl, Chain)> {
        let files = match fs::read_dir(&self.dir) {
            Ok(files) => files,
            Err(error) => {
                let dir = self.dir.display();
                tracing::debug!(%dir, %error, "the stored SNS signing certificates cannot be read");
                return Vec::new();
            }
        };
        let files = files.filter_map(|file| file.ok().map(|file| file.path()));
        let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "pem"));
        let read = |file: PathBuf| {
            let found = read_file(&file).map(|text| parse(&text, topics));
            found.inspect_err(|error| {
                let file = file.display();
                tracing::debug!(%file, %error, "a stored SNS signing certificate cannot be read");
            })
        };
        files.take(FILES_MAX).filter_map(|file| read(file).ok()?).collect()
    }

    /// Stores a certificate for the next start.
    pub(super) fn write(&self, url: &CertificateUrl, chain: &[CertificateDer<'_>]) {
        if let Err(error) = self.try_write(url, chain) {
            let (source, dir) = (&self.source, self.dir.display());
            tracing::warn!(
                source,
                %dir,
                %error,
                "an SNS signing certificate cannot be stored: the next start has to fetch it again"
            );
        }
    }

    fn try_write(&self, url: &CertificateUrl, chain: &[CertificateDer<'_>]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let file = self.dir.join(url.file_name());
        let unfinished = file.with_extension(format!("{}.tmp", self.source));
        let written = fs::write(&unfinished, text(url, chain)).and_then(|()| fs::rename(&unfinished, &file));
        // On a full disk an unfinished file would take space.
        written.inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }

    /// Removes a stored certificate that has expired.
    pub(super) fn remove(&self, url: &CertificateUrl) {
        // A file that cannot be removed is tried again at the next start.
        let _ = fs::remove_file(self.dir.join(url.file_name()));
    }
}

fn read_file(file: &Path) -> io::Result<String> {
    let bytes = fs::metadata(file)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "the file has {bytes} bytes, more than any stored certificate"
        )));
    }
    fs::read_to_string(file)
}

/// The text of a stored file: a line with the URL, and the certificates as PEM.
fn text(url: &CertificateUrl, chain: &[CertificateDer<'_>]) -> String {
    let mut text = format!("https://{}{}\n", url.host(), url.path());
    for certificate in chain {
        let lines = BASE64_STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        // Other readers of PEM want lines of 64.
        for line in lines.as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)).chain(['\n']));
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn parse(text: &str, topics: &[TopicArn]) -> Option<(CertificateUrl, Chain)> {
    let (url, pem) = text.split_once('\n')?;
    let url = topics.iter().find_map(|topic| CertificateUrl::read(url, topic))?;
    let chain: Result<Chain, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    Some((url, chain.ok().filter(|chain| !chain.is_empty())?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn topics(region: &str) -> [TopicArn; 1] {
        [TopicArn::parse(&format!("arn:aws:sns:{region}:111111111111:t")).unwrap()]
    }

    fn url(number: u32) -> CertificateUrl {
        let text = format!("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{number:032x}.pem");
        CertificateUrl::read(&text, &topics("eu-west-1")[0]).unwrap()
    }

    fn chain() -> Chain {
        vec![CertificateDer::from(vec![7; 1000]), CertificateDer::from(vec![8; 3])]
    }

    #[test]
    fn what_is_kept_is_read_again_for_topics_of_its_region() {
        let home = tempfile::tempdir().unwrap();
        let store = CertificateStore::new(&home.path().join("certificates"), "a");
        assert_eq!(store.read(&topics("eu-west-1")), []);
        store.write(&url(1), &chain()[1..]);
        store.write(&url(1), &chain());
        assert_eq!(store.read(&topics("eu-west-1")), [(url(1), chain())]);
        assert_eq!(store.read(&topics("us-east-1")), []);
        store.remove(&url(1));
        assert_eq!(store.read(&topics("eu-west-1")), []);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_passed_over_and_one_that_cannot_be_written_harms_nobody() {
        let home = tempfile::tempdir().unwrap();
        let store = CertificateStore::new(home.path(), "a");
        store.write(&url(1), &chain());
        let long = "x".repeat(1 << 20);
        for (number, text) in ["", "https://evil.example/\n", &text(&url(2), &[]), &long].iter().enumerate() {
            fs::write(home.path().join(format!("{number}.pem")), text).unwrap();
        }
        fs::write(home.path().join("x.pem"), [0xff]).unwrap();
        fs::create_dir(home.path().join("dir.pem")).unwrap();
        assert_eq!(store.read(&topics("eu-west-1")), [(url(1), chain())]);
        fs::write(home.path().join("file"), "").unwrap();
        CertificateStore::new(&home.path().join("file"), "a").write(&url(1), &chain());
    }
}
