# What a plan refuses. `Says:` is a part of the message; tests/terraform/modules.sh holds it to that.

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

variables {
  name          = "fanbridge"
  cluster_arn   = "arn:aws:ecs:eu-west-1:123456789012:cluster/events"
  image         = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/fanbridge:1.0.0"
  task_role_arn = "arn:aws:iam::123456789012:role/fanbridge"
  vpc_id        = "vpc-0"
  subnet_ids    = ["subnet-0a", "subnet-0b"]
  configuration = <<-EOT
    http: { listen: 0.0.0.0:8080 }
    admin:
      listen: 0.0.0.0:9090
      token: env:FANBRIDGE_ADMIN_TOKEN
      metrics_token: env:FANBRIDGE_METRICS_TOKEN
    spool: { dir: /var/lib/fanbridge/spool }
    ack: { after: [lake] }
    sources:
      stream: { provider: stream, secrets: [env:STREAM_SECRET] }
    sinks:
      lake: { kafka: { brokers: env:KAFKA_BROKERS } }
  EOT
  environment   = { KAFKA_BROKERS = "b-1.example.com:9098" }
  secrets = {
    FANBRIDGE_ADMIN_TOKEN   = "arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/token"
    FANBRIDGE_METRICS_TOKEN = "arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/metrics"
    STREAM_SECRET           = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stream-a1b2c3:key::"
  }
}

run "half_a_task" {
  command = plan
  # Says: desired_count is a whole number
  variables {
    desired_count = 1.5
  }
  expect_failures = [var.desired_count]
}

run "fewer_tasks_at_most_than_at_least" {
  command = plan
  # Says: autoscaling.max no less than it
  variables {
    autoscaling = { min = 3, max = 2 }
  }
  expect_failures = [var.autoscaling]
}

run "tasks_that_are_never_busy" {
  command = plan
  # Says: between 20 and 90
  variables {
    autoscaling = { min = 1, max = 2, cpu_percent = 100 }
  }
  expect_failures = [var.autoscaling]
}

run "scaling_by_a_number_that_does_not_come" {
  command = plan
  # Says: the sidecar brings that number
  variables {
    autoscaling = { min = 1, max = 2, oldest_pending_seconds = 60 }
  }
  expect_failures = [var.autoscaling]
}

run "another_balancer" {
  command = plan
  # Says: load_balancer.kind is alb or nlb
  variables {
    load_balancer = {
      kind            = "clb"
      certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids      = ["subnet-1a", "subnet-1b"]
    }
  }
  expect_failures = [var.load_balancer]
}

run "a_balancer_without_tls" {
  command = plan
  # Says: providers deliver by HTTPS only
  variables {
    load_balancer = {
      certificate_arn = ""
      subnet_ids      = ["subnet-1a", "subnet-1b"]
    }
  }
  expect_failures = [var.load_balancer]
}

run "a_balancer_in_one_subnet" {
  command = plan
  # Says: load_balancer.subnet_ids has two
  variables {
    load_balancer = {
      certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids      = ["subnet-1a"]
    }
  }
  expect_failures = [var.load_balancer]
}

run "a_firewall_before_an_nlb" {
  command = plan
  # Says: Only an alb can have a web_acl
  variables {
    load_balancer = {
      kind            = "nlb"
      certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids      = ["subnet-1a", "subnet-1b"]
      web_acl         = { arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/events/1" }
    }
  }
  expect_failures = [var.load_balancer]
}

run "a_balancer_that_lets_go_at_once" {
  command = plan
  # Says: deregistration_delay is between 5 and 300
  variables {
    load_balancer = {
      certificate_arn      = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids           = ["subnet-1a", "subnet-1b"]
      deregistration_delay = 0
    }
  }
  expect_failures = [var.load_balancer]
}

run "a_stop_that_kills" {
  command = plan
  # Says: stop_timeout is between 45 and 120
  variables {
    stop_timeout = 30
  }
  expect_failures = [var.stop_timeout]
}

run "the_latest_sidecar" {
  command = plan
  # Says: metrics.image has a version or a digest
  variables {
    metrics = { image = "public.ecr.aws/aws-observability/aws-otel-collector:latest" }
  }
  expect_failures = [var.metrics]
}

run "a_sidecar_without_the_token" {
  command = plan
  # Says: metrics needs the metrics token
  variables {
    metrics = {
      image          = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
      token_variable = "TOKEN"
    }
  }
  expect_failures = [var.metrics]
}

run "a_sidecar_whose_token_the_bridge_does_not_know" {
  command = plan
  # Says: the configuration needs `admin: { metrics_token: env:STREAM_SECRET }`
  variables {
    metrics = {
      image          = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
      token_variable = "STREAM_SECRET"
    }
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_sidecar_with_the_admin_token" {
  command = plan
  # Says: and another admin.token
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin:
        listen: 0.0.0.0:9090
        token: env:FANBRIDGE_ADMIN_TOKEN
        metrics_token: env:FANBRIDGE_ADMIN_TOKEN
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
    metrics = {
      image          = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
      token_variable = "FANBRIDGE_ADMIN_TOKEN"
    }
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_sidecar_that_scrapes_every_second" {
  command = plan
  # Says: metrics.interval_seconds is between 10 and 300
  variables {
    metrics = {
      image            = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
      interval_seconds = 1
    }
  }
  expect_failures = [var.metrics]
}

run "the_latest_image_of_the_first_container" {
  command = plan
  # Says: configuration_image has a version or a digest
  variables {
    configuration_image = "public.ecr.aws/docker/library/busybox:latest"
  }
  expect_failures = [var.configuration_image]
}

run "a_period_that_the_log_lacks" {
  command = plan
  # Says: one of the periods that CloudWatch Logs has
  variables {
    log_retention_days = 10
  }
  expect_failures = [var.log_retention_days]
}
