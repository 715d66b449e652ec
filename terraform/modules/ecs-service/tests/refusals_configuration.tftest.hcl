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
    admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
    spool: { dir: /var/lib/fanbridge/spool }
    ack: { after: [lake] }
    sources:
      stream: { provider: stream, secrets: [env:STREAM_SECRET] }
    sinks:
      lake: { kafka: { brokers: env:KAFKA_BROKERS } }
  EOT
  environment   = { KAFKA_BROKERS = "b-1.example.com:9098" }
  secrets = {
    FANBRIDGE_ADMIN_TOKEN = "arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/token"
    STREAM_SECRET         = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stream-a1b2c3:key::"
  }
}

run "no_configuration" {
  command = plan
  # Says: run `fanbridge check` on it
  variables {
    configuration = "http: {"
  }
  expect_failures = [var.configuration]
}

run "a_public_listener_on_loopback" {
  command = plan
  # Says: configuration needs `http: { listen: 0.0.0.0:8080 }`
  variables {
    configuration = <<-EOT
      http: { listen: 127.0.0.1:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [var.configuration]
}

run "an_admin_listener_without_a_token" {
  command = plan
  # Says: without a token everybody in the network
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090 }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [var.configuration]
}

run "a_spool_where_nothing_can_be_written" {
  command = plan
  # Says: nothing else can be written
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [var.configuration]
}

run "events_that_only_the_tasks_disk_has" {
  command = plan
  # Says: stream → lake
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_source_that_undoes_what_all_wait_for" {
  command = plan
  # Says: stream → lake
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET], ack: { after: [] } }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_second_sink_that_nobody_waits_for" {
  command = plan
  # Says: stream → billing
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
        billing: { kafka: { brokers: env:KAFKA_BROKERS }, select: [call.session_ended] }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "files_on_the_tasks_disk" {
  command = plan
  # Says: stream → local
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "waiting_for_files_on_the_tasks_disk" {
  command = plan
  # Says: stream → copies
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [copies] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        copies: { file: { dir: /var/lib/fanbridge/copies } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_volume_that_ends_with_its_task" {
  command = plan
  # Says: The disk ends with its task
  variables {
    storage       = { kind = "ebs", size_gib = 100 }
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_variable_that_the_task_lacks" {
  command = plan
  # Says: the task does not have: FASTPIX_SECRET
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
        fastpix: { provider: fastpix, secrets: [env:FASTPIX_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_file_that_no_task_has" {
  command = plan
  # Says: reads files that no task has: /run/secrets/stream
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: ["file:/run/secrets/stream"] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_spool_larger_than_the_disk" {
  command = plan
  # Says: beyond nine tenths of the disk
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool, bytes_max: 28 GiB }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "a_drain_longer_than_the_stop" {
  command = plan
  # Says: A stop would kill the bridge while it drains
  variables {
    configuration = <<-EOT
      shutdown_grace_seconds: 50
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "an_admin_token_written_out" {
  command = plan
  # Says: it would stand in the task definition
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: swordfish-swordfish-swordfish-sword }
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [var.configuration]
}

run "a_metrics_token_written_out" {
  command = plan
  # Says: configuration has the metrics token itself
  variables {
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin:
        listen: 0.0.0.0:9090
        token: env:FANBRIDGE_ADMIN_TOKEN
        metrics_token: swordfish-swordfish-swordfish-sword
      spool: { dir: /var/lib/fanbridge/spool }
      ack: { after: [lake] }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET] }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } }
    EOT
  }
  expect_failures = [var.configuration]
}
