# What a plan refuses. `Says:` is a part of the message; tests/terraform/modules.sh holds it to that.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name   = "events"
  bridge = "fanbridge"
}

run "a_name_that_no_dashboard_can_have" {
  command = plan
  # Says: The name has 1 to 100 letters
  variables {
    name = "my events"
  }
  expect_failures = [var.name]
}

run "a_namespace_of_awss_own" {
  command = plan
  # Says: does not begin with AWS/
  variables {
    namespace = "AWS/ECS"
  }
  expect_failures = [var.namespace]
}

run "a_period_that_alarms_lack" {
  command = plan
  # Says: period_seconds is 60 or 300
  variables {
    period_seconds = 61
  }
  expect_failures = [var.period_seconds]
}

run "an_alarm_that_there_is_not" {
  command = plan
  # Says: disabled_alarms names alarms that there are not: FanbridgeSilent
  variables {
    disabled_alarms = ["FanbridgeSilent"]
  }
  expect_failures = [var.disabled_alarms]
}

run "the_arn_of_a_cluster" {
  command = plan
  # Says: ecs_cluster is the name of a cluster, not its ARN
  variables {
    ecs_cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/events"
  }
  expect_failures = [var.ecs_cluster]
}
