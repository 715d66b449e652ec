//! Where the services that keep secrets are called (pure).

use crate::reference::AwsSecretStore;

/// A service that keeps secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    SecretsManager,
    SystemsManager,
}

impl Service {
    pub(super) fn of(store: AwsSecretStore) -> Self {
        match store {
            AwsSecretStore::SecretsManager => Self::SecretsManager,
            AwsSecretStore::ParameterStore => Self::SystemsManager,
        }
    }

    /// Its name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::SystemsManager => "Parameter Store",
        }
    }

    /// Its name in variables of the environment and in profiles, once it is put in their form.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::SystemsManager => "SSM",
        }
    }

    /// Its name in signatures, and the first label of its hosts.
    pub(super) fn signed_as(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::SystemsManager => "ssm",
        }
    }
}

/// The beginnings of regions outside of the first partition, with the domains of their hosts: of the plain
/// and of the dual-stack ones.
const DOMAINS: [(&str, &str, &str); 6] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
];
const DOMAIN: (&str, &str) = ("amazonaws.com", "api.aws");

/// The URL of a region's endpoint of this service.
pub(super) fn endpoint(service: Service, region: &str, fips: bool, dual_stack: bool) -> String {
    let of_region = DOMAINS.iter().find(|(beginning, ..)| region.starts_with(beginning));
    let (plain, dual) = of_region.map_or(DOMAIN, |(_, plain, dual)| (*plain, *dual));
    // The plain hosts of Systems Manager are the FIPS hosts there, and there are no others.
    let is_fips_anyway = service == Service::SystemsManager && !dual_stack && region.starts_with("us-gov-");
    let fips = if fips && !is_fips_anyway { "-fips" } else { "" };
    format!("https://{}{fips}.{region}.{}", service.signed_as(), if dual_stack { dual } else { plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_called_at_the_host_of_its_partition() {
        use Service::{SecretsManager, SystemsManager};
        for (service, region, fips, dual_stack, url) in [
            (SecretsManager, "eu-west-1", false, false, "https://secretsmanager.eu-west-1.amazonaws.com"),
            (SecretsManager, "us-east-2", true, false, "https://secretsmanager-fips.us-east-2.amazonaws.com"),
            (SecretsManager, "us-east-2", true, true, "https://secretsmanager-fips.us-east-2.api.aws"),
            (SystemsManager, "eu-west-1", false, true, "https://ssm.eu-west-1.api.aws"),
            (SystemsManager, "us-east-1", true, false, "https://ssm-fips.us-east-1.amazonaws.com"),
            (SystemsManager, "us-gov-west-1", true, false, "https://ssm.us-gov-west-1.amazonaws.com"),
            (SystemsManager, "cn-north-1", false, false, "https://ssm.cn-north-1.amazonaws.com.cn"),
            (
                SecretsManager,
                "eusc-de-east-1",
                false,
                false,
                "https://secretsmanager.eusc-de-east-1.amazonaws.eu",
            ),
        ] {
            assert_eq!(endpoint(service, region, fips, dual_stack), url);
        }
    }
}
