//! The URL of a signing certificate and the names in it: both follow from the topic's region, and never
//! from what a message says (pure).

use crate::aws::arn::TopicArn;

/// The beginning of every signing certificate's path.
const PATH_START: &str = "/SimpleNotificationService-";
const PATH_END: &str = ".pem";
/// How many lower-case hexadecimal characters are between the beginning and the end of the path.
const PATH_HEX_CHARS: usize = 32;

/// The URL of a signing certificate of one region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CertificateUrl {
    region: String,
    /// The 32 hexadecimal characters that identify one certificate of the region.
    hex: String,
}

impl CertificateUrl {
    /// Reads a `SigningCertURL` that must belong to the topic's region.
    ///
    /// The URL is compared as text with the only form that SNS writes, and not parsed: so no parser can
    /// understand user names, ports, escapes or dots in it differently.
    pub(super) fn read(text: &str, topic: &TopicArn) -> Option<Self> {
        let region = topic.region();
        let path = text.strip_prefix("https://")?.strip_prefix(&*host(region))?;
        let hex = path.strip_prefix(PATH_START)?.strip_suffix(PATH_END)?;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == PATH_HEX_CHARS && hex.bytes().all(digit))
            .then(|| Self { region: region.to_owned(), hex: hex.to_owned() })
    }

    /// The host of the URL.
    pub(super) fn host(&self) -> String {
        host(&self.region)
    }

    /// The path of the URL.
    pub(super) fn path(&self) -> String {
        format!("{PATH_START}{}{PATH_END}", self.hex)
    }

    /// The names of which the certificate must carry one, as the AWS SDK for Java lists them: one name for
    /// most regions, a name of its own for each opt-in region, and older forms for GovCloud and China.
    pub(super) fn certificate_names(&self) -> Vec<String> {
        let (region, domain) = (&*self.region, domain(&self.region));
        let mut names = vec![
            format!("sns.{domain}"),
            format!("sns.{region}.{domain}"),
            format!("sns-signing.{region}.{domain}"),
        ];
        match region {
            _ if region.starts_with("us-gov-") => names.push(format!("sns-us-gov-west-1.{domain}")),
            _ if region.starts_with("cn-") => names.push(format!("sns-{region}.{domain}")),
            _ => {}
        }
        names
    }
}

fn host(region: &str) -> String {
    format!("sns.{region}.{}", domain(region))
}

fn domain(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "amazonaws.com.cn",
        // The European Sovereign Cloud, a partition of its own.
        _ if region.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn read(text: &str, region: &str) -> Option<CertificateUrl> {
        let topic = TopicArn::parse(&format!("arn:aws:sns:{region}:111111111111:t")).unwrap();
        CertificateUrl::read(text, &topic)
    }

    #[test]
    fn the_one_form_of_a_certificates_url_is_taken() {
        let url = format!("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{HEX}.pem");
        let read_url = read(&url, "eu-west-1").unwrap();
        assert_eq!(format!("https://{}{}", read_url.host(), read_url.path()), url);
        let url = format!("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-{HEX}.pem");
        let read_url = read(&url, "cn-north-1").unwrap();
        assert_eq!(read_url.host(), "sns.cn-north-1.amazonaws.com.cn");
        let url = format!("https://sns.eusc-de-east-1.amazonaws.eu/SimpleNotificationService-{HEX}.pem");
        assert_eq!(read(&url, "eusc-de-east-1").unwrap().host(), "sns.eusc-de-east-1.amazonaws.eu");
        assert!(read(&url.replace(".eu/", ".com/"), "eusc-de-east-1").is_none());
        assert_eq!(
            read_url.certificate_names(),
            [
                "sns.amazonaws.com.cn",
                "sns.cn-north-1.amazonaws.com.cn",
                "sns-signing.cn-north-1.amazonaws.com.cn",
                "sns-cn-north-1.amazonaws.com.cn",
            ]
        );
    }

    #[test]
    fn every_other_url_is_refused() {
        let path = format!("/SimpleNotificationService-{HEX}.pem");
        let host = "sns.eu-west-1.amazonaws.com";
        let others = [
            // The scheme.
            format!("http://{host}{path}"),
            format!("HTTPS://{host}{path}"),
            format!("ftp://{host}{path}"),
            format!("//{host}{path}"),
            format!(" https://{host}{path}"),
            format!("https:\\\\{host}{path}"),
            // The host.
            format!("https://evil.example{path}"),
            format!("https://{host}.evil.example{path}"),
            format!("https://evil{host}{path}"),
            format!("https://evil.{host}{path}"),
            format!("https://sns.eu-west-1.amazonaws.com.cn{path}"),
            format!("https://sns.eu-west-1.amazonaws.comx{path}"),
            format!("https://sns.eu-west-1-amazonaws.com{path}"),
            format!("https://sns-eu-west-1.amazonaws.com{path}"),
            format!("https://sns.s3-eu-west-1.amazonaws.com{path}"),
            format!("https://sns.s3.amazonaws.com{path}"),
            "https://sns.s3-us-west-2.amazonaws.com/x.pem".into(),
            format!("https://sns.elb.eu-west-1.amazonaws.com{path}"),
            format!("https://sns.execute-api.eu-west-1.amazonaws.com{path}"),
            format!("https://sns.amazonaws.com{path}"),
            format!("https://127.0.0.1{path}"),
            format!("https://[::1]{path}"),
            format!("https://169.254.169.254{path}"),
            format!("https://0x7f000001{path}"),
            format!("https://sns.eu-west-1.xn--mazonaws-5fg.com{path}"),
            format!("https://sns.eu-west-1.аmazonaws.com{path}"),
            format!("https://SNS.eu-west-1.amazonaws.com{path}"),
            format!("https://sns.EU-WEST-1.amazonaws.com{path}"),
            format!("https://{host}.{path}"),
            format!("https://sns%2eeu-west-1.amazonaws.com{path}"),
            // The region.
            format!("https://sns.us-east-1.amazonaws.com{path}"),
            format!("https://sns.eu-west-11.amazonaws.com{path}"),
            // What a URL can have around its host.
            format!("https://user@{host}{path}"),
            format!("https://user:password@{host}{path}"),
            format!("https://{host}@evil.example{path}"),
            format!("https://{host}:443{path}"),
            format!("https://{host}:8443{path}"),
            format!("https://{host}:{path}"),
            // The path.
            format!("https://{host}/"),
            format!("https://{host}/other.pem"),
            format!("https://{host}/x{path}"),
            format!("https://{host}/{path}"),
            format!("https://{host}/..{path}"),
            format!("https://{host}/./{path}"),
            format!("https://{host}{path}?x=y"),
            format!("https://{host}{path}#x"),
            format!("https://{host}{path}/"),
            format!("https://{host}{path} "),
            format!("https://{host}{path}\n"),
            format!("https://{host}{path}%00"),
            format!("https://{host}{path}.pem"),
            format!("https://{host}/SimpleNotificationService-{}.pem", &HEX[1..]),
            format!("https://{host}/SimpleNotificationService-{HEX}0.pem"),
            format!("https://{host}/SimpleNotificationService-{}.pem", HEX.to_uppercase()),
            format!("https://{host}/SimpleNotificationService-{}g.pem", &HEX[1..]),
            format!("https://{host}/SimpleNotificationService-{}%2e.pem", &HEX[3..]),
            format!("https://{host}/SimpleNotificationService-{}é.pem", &HEX[2..]),
            format!("https://{host}/simplenotificationservice-{HEX}.pem"),
            format!("https://{host}/SimpleNotificationService-{HEX}.PEM"),
            String::new(),
        ];
        for url in others {
            assert_eq!(read(&url, "eu-west-1"), None, "{url}");
        }
    }

    #[test]
    fn the_names_of_a_region_are_its_own() {
        let names = |region: &str| {
            read(&format!("https://{}/SimpleNotificationService-{HEX}.pem", host(region)), region)
                .unwrap()
                .certificate_names()
        };
        assert!(names("af-south-1").contains(&"sns-signing.af-south-1.amazonaws.com".to_owned()));
        assert!(names("us-gov-east-1").contains(&"sns-us-gov-west-1.amazonaws.com".to_owned()));
        assert!(names("us-east-1").contains(&"sns.amazonaws.com".to_owned()));
        assert!(!names("us-east-1").iter().any(|name| name.contains("eu-west-1")));
    }
}
