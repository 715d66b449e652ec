# The first plan of all, in which whatever AWS names (ARNs, ids, URLs) is not known yet: how many of each
# there are must not depend on it, because Terraform could not plan that. The provider asks AWS nothing.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = module.alb.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.nlb.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

run "services_whose_surroundings_come_with_them" {
  command = plan

  module {
    source = "./tests/first_plan"
  }
}
