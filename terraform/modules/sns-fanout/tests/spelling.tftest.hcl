# The spelling of topics against the catalogue, as families.json has it.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

run "every_family_of_every_provider" {
  command = plan

  variables {
    families = {
      fastpix = [], github = [], mux = [], shopify = [], "standard-webhooks" = [], stream = [], stripe = []
    }
  }

  assert {
    condition = output.topic_names == tomap(merge([
      for provider, entry in jsondecode(file("../../families.json")).providers : {
        for family in entry.families : "${provider}.${family.family}" => family.sns
      }
    ]...))
    error_message = "A topic is not spelt as the bridge spells it."
  }
}

run "a_provider_of_ones_own_and_a_template_of_ones_own" {
  command = plan

  variables {
    custom_families = { billing = ["invoices.paid"] }
    topic_template  = "prod_{provider}-{family}-v1"
  }

  assert {
    condition     = output.topic_names == tomap({ "billing.invoices.paid" = "prod_billing-invoices-paid-v1" })
    error_message = "The template was not filled in."
  }
}

run "families_that_share_a_topic_are_one_topic" {
  command = plan

  variables {
    families       = { stream = ["chat.message", "user"] }
    topic_template = "events"
    fifo           = true
  }

  assert {
    condition     = keys(aws_sns_topic.this) == ["events.fifo"]
    error_message = "There is more than one topic."
  }
}
