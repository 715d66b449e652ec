//! The signing certificates that were trusted, on disk beside the spool, so that after a restart the
//! first messages need no fetch: while nothing is known, strangers compete for the few there are.
//!
//! They are worth no more than what a host sends: each is judged anew when it is read. So nothing
//! depends on these files, and what goes wrong with them costs a fetch and a line in the log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::origin::CertificateUrl;
use crate::aws::arn::TopicArn;

/// The most files that are read; a region gets a new certificate a few times a year.
const FILES_MAX: usize = 256;
/// The bytes of a file: those of two that were fetched, and of what the host presented.
const FILE_BYTES_MAX: u64 = 128 << 10;

/// Where certificates are kept. Sources may share it.
#[derive(Clone, Debug)]
pub(super) struct CertificateStore {
    dir: PathBuf,
    /// Tells the files of two sources apart while they are written.
    source: String,
}

/// A certificate that was trusted once, with what it was trusted by: the first is its own.
pub(super) type Chain = Vec<CertificateDer<'static>>;

impl CertificateStore {
    pub(super) fn new(dir: &Path, source: &str) -> Self {
        Self { dir: dir.to_owned(), source: source.to_owned() }
    }

    /// Those of the regions of these topics.
    pub(super) fn read(&self, topics: &[TopicArn]) -> Vec<(CertificateUrl, Chain)> {
        let files = match fs::read_dir(&self.dir) {
            Ok(files) => files,
            Err(error) => {
                tracing::debug!(dir = %self.dir.display(), %error, "no signing certificates are kept");
                return Vec::new();
            }
        };
        let files = files.filter_map(|file| file.ok().map(|file| file.path()));
        let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "pem"));
        let read = |file: PathBuf| {
            let found = read_file(&file).map(|text| parse(&text, topics));
            found.inspect_err(|error| {
                tracing::debug!(file = %file.display(), %error, "a kept signing certificate cannot be read");
            })
        };
        files.take(FILES_MAX).filter_map(|file| read(file).ok()?).collect()
    }

    /// Keeps one for the next start.
    pub(super) fn write(&self, url: &CertificateUrl, chain: &[CertificateDer<'_>]) {
        if let Err(error) = self.try_write(url, chain) {
            let (source, dir) = (&self.source, self.dir.display());
            tracing::warn!(source, %dir, %error, "a signing certificate cannot be kept: the next start fetches it again");
        }
    }

    fn try_write(&self, url: &CertificateUrl, chain: &[CertificateDer<'_>]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let file = self.dir.join(url.file_name());
        let unfinished = file.with_extension(format!("{}.tmp", self.source));
        let written = fs::write(&unfinished, text(url, chain)).and_then(|()| fs::rename(&unfinished, &file));
        // On a full disk the half of a file is in the way.
        written.inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }

    /// Forgets one that does not hold any more.
    pub(super) fn remove(&self, url: &CertificateUrl) {
        // What cannot be removed is found wanting again at the next start.
        let _ = fs::remove_file(self.dir.join(url.file_name()));
    }
}

fn read_file(file: &Path) -> io::Result<String> {
    let bytes = fs::metadata(file)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has {bytes} bytes")));
    }
    fs::read_to_string(file)
}

/// A line with the URL, and the certificates as PEM.
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
        let kept = CertificateStore::new(&home.path().join("certificates"), "a");
        assert_eq!(kept.read(&topics("eu-west-1")), []);
        kept.write(&url(1), &chain()[1..]);
        kept.write(&url(1), &chain());
        assert_eq!(kept.read(&topics("eu-west-1")), [(url(1), chain())]);
        assert_eq!(kept.read(&topics("us-east-1")), []);
        kept.remove(&url(1));
        assert_eq!(kept.read(&topics("eu-west-1")), []);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_passed_over_and_one_that_cannot_be_written_harms_nobody() {
        let home = tempfile::tempdir().unwrap();
        let kept = CertificateStore::new(home.path(), "a");
        kept.write(&url(1), &chain());
        let long = "x".repeat(1 << 20);
        for (number, text) in ["", "https://evil.example/\n", &text(&url(2), &[]), &long].iter().enumerate() {
            fs::write(home.path().join(format!("{number}.pem")), text).unwrap();
        }
        fs::write(home.path().join("x.pem"), [0xff]).unwrap();
        fs::create_dir(home.path().join("dir.pem")).unwrap();
        assert_eq!(kept.read(&topics("eu-west-1")), [(url(1), chain())]);
        fs::write(home.path().join("file"), "").unwrap();
        CertificateStore::new(&home.path().join("file"), "a").write(&url(1), &chain());
    }
}
