# The disk under the spool. The provider is the real one and asks AWS nothing.

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

override_resource {
  target = aws_vpc_security_group_egress_rule.task
}

override_resource {
  target = aws_vpc_security_group_egress_rule.file_system
}

override_resource {
  target = aws_vpc_security_group_ingress_rule.task
}

override_resource {
  target = aws_vpc_security_group_ingress_rule.admin
}

override_resource {
  target = aws_vpc_security_group_ingress_rule.balancer
}

override_resource {
  target = aws_vpc_security_group_egress_rule.balancer
}

override_resource {
  target = aws_lb_listener_rule.in
}

override_resource {
  target = aws_wafv2_web_acl_association.this
}

override_resource {
  target = aws_iam_role_policy.execution
}

override_resource {
  target = aws_iam_role_policy.task
}

override_resource {
  target = aws_iam_role_policy_attachment.volumes
}

override_resource {
  target = aws_iam_role_policy.volumes
}

override_resource {
  target = aws_ecs_service.this
}

override_resource {
  target = aws_appautoscaling_target.this
}

override_resource {
  target = aws_appautoscaling_policy.cpu
}

override_resource {
  target = aws_appautoscaling_policy.oldest_pending
}

override_resource {
  target = aws_cloudwatch_log_group.this
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/fanbridge" }
}

override_resource {
  target = aws_cloudwatch_log_group.metrics
  values = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/fanbridge/metrics" }
}

override_resource {
  target = aws_security_group.task
  values = { id = "sg-0task" }
}

override_resource {
  target = aws_security_group.balancer
  values = { id = "sg-0balancer" }
}

override_resource {
  target = aws_lb.this
  values = {
    arn      = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/fanbridge/1"
    dns_name = "fanbridge-1.eu-west-1.elb.amazonaws.com"
  }
}

override_resource {
  target = aws_lb_target_group.this
  values = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/fanbridge/1" }
}

override_resource {
  target = aws_lb_listener.this
  values = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/fanbridge/1/2" }
}

override_resource {
  target = aws_iam_role.execution
  values = { arn = "arn:aws:iam::123456789012:role/fanbridge-execution", id = "fanbridge-execution" }
}

override_resource {
  target = aws_iam_role.volumes
  values = { arn = "arn:aws:iam::123456789012:role/fanbridge-volumes", id = "fanbridge-volumes" }
}

override_resource {
  target = aws_ecs_task_definition.this
  values = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/fanbridge:1" }
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

run "the_tasks_own_disk" {
  command = apply

  assert {
    condition = (
      aws_ecs_task_definition.this.ephemeral_storage[0].size_in_gib == 30
      && length(aws_ecs_service.this.volume_configuration) == 0
    )
    error_message = "The task's disk is another one."
  }
}

run "a_volume_for_each_task" {
  command = apply

  variables {
    storage = { kind = "ebs", size_gib = 100 }
  }

  assert {
    condition = alltrue([
      for volume in aws_ecs_service.this.volume_configuration : alltrue([
        volume.name == "spool", volume.managed_ebs_volume[0].size_in_gb == 100,
        volume.managed_ebs_volume[0].encrypted, volume.managed_ebs_volume[0].volume_type == "gp3",
        volume.managed_ebs_volume[0].role_arn == "arn:aws:iam::123456789012:role/fanbridge-volumes",
      ])
    ]) && length(aws_ecs_service.this.volume_configuration) == 1
    error_message = "ECS makes no volume."
  }

  assert {
    condition = anytrue([
      for volume in aws_ecs_task_definition.this.volume :
      volume.name == "spool" && coalesce(volume.configure_at_launch, false)
    ])
    error_message = "The volume is not the spool's."
  }

  assert {
    condition     = length(aws_ecs_task_definition.this.ephemeral_storage) == 0
    error_message = "The task has a second large disk."
  }

  assert {
    condition = {
      for one in jsondecode(aws_iam_role_policy.volumes[0].policy).Statement :
      one.Sid => one.Resource == "arn:aws:kms:eu-west-1:123456789012:key/*" && (
        one.Condition.StringEquals["kms:ViaService"] == "ec2.eu-west-1.amazonaws.com"
      )
    } == { EncryptVolumes = true, LetVolumesBeAttached = true }
    error_message = "A volume could not have the account's key: ${aws_iam_role_policy.volumes[0].policy}"
  }
}

run "volumes_with_a_key_of_ones_own" {
  command = apply

  variables {
    storage = {
      kind        = "ebs"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"
    }
  }

  assert {
    condition = alltrue([
      for one in jsondecode(aws_iam_role_policy.volumes[0].policy).Statement :
      one.Resource == var.storage.kms_key_arn && (
        one.Action != "kms:CreateGrant" || one.Condition.Bool["kms:GrantIsForAWSResource"] == "true"
      )
    ])
    error_message = "ECS may use other keys: ${aws_iam_role_policy.volumes[0].policy}"
  }
}

run "a_file_system_that_outlasts_the_task" {
  command = apply

  variables {
    desired_count = 1
    storage = {
      kind              = "efs"
      file_system_id    = "fs-0"
      access_point_id   = "fsap-0"
      file_system_sg_id = "sg-0files"
    }
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

  assert {
    condition = (
      aws_ecs_service.this.deployment_minimum_healthy_percent == 0
      && aws_ecs_service.this.deployment_maximum_percent == 100
    )
    error_message = "Two tasks would want one spool at once."
  }

  assert {
    condition = !strcontains(
      jsondecode(aws_ecs_task_definition.this.container_definitions)[0].command[0], "chown"
    )
    error_message = "The access point has given the directory to its user already."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.task[0].policy).Statement) == jsonencode([{
      Sid      = "MountFileSystem"
      Effect   = "Allow"
      Action   = ["elasticfilesystem:ClientWrite", "elasticfilesystem:ClientMount"]
      Resource = "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-0"
      Condition = {
        StringEquals = {
          "elasticfilesystem:AccessPointArn" = join(":", [
            "arn:aws:elasticfilesystem:eu-west-1:123456789012", "access-point/fsap-0",
          ])
        }
      }
    }])
    error_message = "The task may do something else: ${aws_iam_role_policy.task[0].policy}"
  }

  assert {
    condition = (
      aws_vpc_security_group_egress_rule.file_system[0].referenced_security_group_id == "sg-0files"
    )
    error_message = "The task does not reach the file system."
  }
}

run "a_sink_whose_events_may_be_lost" {
  command = apply

  variables {
    storage       = { may_lose_sinks = ["copies"] }
    configuration = <<-EOT
      http: { listen: 0.0.0.0:8080 }
      admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
      spool: { dir: /var/lib/fanbridge/spool, bytes_max: 27 GiB }
      sources:
        stream: { provider: stream, secrets: [env:STREAM_SECRET], ack: { after: [lake] } }
      sinks:
        lake: { kafka: { brokers: env:KAFKA_BROKERS } } # file:/no/file, env:NO_VARIABLE
        copies: { file: { dir: /var/lib/fanbridge/copies } }
    EOT
  }

  assert {
    condition     = length(aws_ecs_task_definition.this.container_definitions) > 0
    error_message = "It is refused."
  }
}
