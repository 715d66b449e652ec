# What the example gives the bridge, held against deploy/examples/fastpix.yaml with the account and the region
# of AWS's documentation. The provider is the real one and asks AWS nothing.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = module.identity.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.topics.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.bridge.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = module.identity.aws_iam_role.this
  override_during = plan
  values = {
    arn = "arn:aws:iam::123456789012:role/fastpix-fanout-task"
  }
}

variables {
  image           = "registry.example.com/fanbridge:0.1.0"
  cluster_arn     = "arn:aws:ecs:eu-west-1:123456789012:cluster/events"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-1111-2222-3333-444444444444"
  network = {
    vpc_id             = "vpc-00000000"
    private_subnet_ids = ["subnet-00000001", "subnet-00000002"]
    public_subnet_ids  = ["subnet-00000003", "subnet-00000004"]
  }
  signing_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:fastpix-AbCdEf"
  admin_token_arn    = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf"
}

run "the_configuration_is_the_shipped_one" {
  command = plan

  assert {
    condition = {
      for key, value in yamldecode(output.configuration) : key => value if key != "select"
      } == {
      for key, value in yamldecode(file("../../../deploy/examples/fastpix.yaml")) :
      key => value if !contains(["tests", "select"], key)
    }
    error_message = "The template and deploy/examples/fastpix.yaml differ."
  }

  assert {
    condition = toset(yamldecode(output.configuration).select) == toset(
      yamldecode(file("../../../deploy/examples/fastpix.yaml")).select
    )
    error_message = "The template and deploy/examples/fastpix.yaml select other types."
  }
}

run "every_family_with_a_selected_type_has_a_topic" {
  command = plan

  variables {
    events = { media-ai = ["video.mediaAI.summary.ready"] }
  }

  assert {
    condition     = join(" ", keys(output.topic_arns)) == "fastpix.media-ai"
    error_message = "The topics are not those of the selected families."
  }

  assert {
    condition     = yamldecode(output.configuration).select == ["video.mediaAI.summary.ready"]
    error_message = "The bridge does not select the type."
  }
}

run "a_family_without_types_is_refused" {
  command = plan

  variables {
    events = { media = [] }
  }

  expect_failures = [var.events]
}
