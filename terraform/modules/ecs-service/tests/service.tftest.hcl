# What would be made on Fargate. The provider is the real one and asks AWS nothing.

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

run "tasks_on_fargate_for_queues_only" {
  command = apply

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[*].name == [
      "configuration", "bridge",
    ]
    error_message = "The containers are others."
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].command == [join("\n", [
      "set -eu", "printf '%s\\n' \"$CONFIGURATION\" > /etc/fanbridge/fanbridge.yaml",
      "chown 10001:10001 /var/lib/fanbridge", "chmod 0700 /var/lib/fanbridge",
    ])]
    error_message = "The configuration is written otherwise."
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment == [
      { name = "CONFIGURATION", value = var.configuration },
    ]
    error_message = "Another configuration is written."
  }

  assert {
    condition = alltrue([
      for bridge in [jsondecode(aws_ecs_task_definition.this.container_definitions)[1]] : alltrue([
        bridge.essential, bridge.readonlyRootFilesystem, bridge.user == "10001:10001",
        bridge.stopTimeout == 60, bridge.linuxParameters.capabilities.drop == ["ALL"],
        jsonencode(bridge.dependsOn)
        == jsonencode([{ containerName = "configuration", condition = "SUCCESS" }]),
        bridge.healthCheck.command == ["CMD", "/usr/bin/fanbridge", "health", "--live"],
        toset(bridge.portMappings[*].containerPort) == toset([8080, 9090]),
      ])
    ])
    error_message = "The bridge's container is not as it has to be."
  }

  assert {
    condition = {
      for one in jsondecode(aws_ecs_task_definition.this.container_definitions)[1].environment :
      one.name => one.value
    } == { FANBRIDGE_CONFIG = "/etc/fanbridge/fanbridge.yaml", KAFKA_BROKERS = "b-1.example.com:9098" }
    error_message = "The bridge's variables are others."
  }

  assert {
    condition = tomap({
      for one in jsondecode(aws_ecs_task_definition.this.container_definitions)[1].secrets :
      one.name => one.valueFrom
    }) == var.secrets
    error_message = "The bridge's secrets are others."
  }

  assert {
    condition = (
      aws_ecs_service.this.deployment_circuit_breaker[0].enable
      && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
      && aws_ecs_service.this.deployment_minimum_healthy_percent == 100
      && aws_ecs_service.this.deployment_maximum_percent == 200
      && length(aws_ecs_service.this.load_balancer) == 0
      && length(aws_ecs_service.this.alarms) == 0
    )
    error_message = "A bad version would replace a good one."
  }

  assert {
    condition     = aws_ecs_task_definition.this.skip_destroy
    error_message = "A rollback would not find the former revision: it is deregistered when it is replaced."
  }

  assert {
    condition = (
      aws_appautoscaling_target.this.min_capacity == 2 && aws_appautoscaling_target.this.max_capacity == 2
      && aws_appautoscaling_target.this.resource_id == "service/events/fanbridge"
      && length(aws_appautoscaling_policy.cpu) == 0
    )
    error_message = "There are not two tasks."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.execution.policy).Statement) == jsonencode([
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:PutLogEvents", "logs:CreateLogStream"]
        Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/fanbridge:*"
      },
      {
        Sid    = "PullImages"
        Effect = "Allow"
        Action = [
          "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability",
        ]
        Resource = "arn:aws:ecr:eu-west-1:123456789012:repository/fanbridge"
      },
      {
        Sid      = "LogInToEcr"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stream-a1b2c3"
      },
      {
        Sid      = "ReadParameters"
        Effect   = "Allow"
        Action   = "ssm:GetParameters"
        Resource = "arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/token"
      },
    ])
    error_message = "ECS may do something else: ${aws_iam_role_policy.execution.policy}"
  }

  assert {
    condition = (
      { for name, rule in aws_vpc_security_group_egress_rule.task :
      name => "${rule.from_port}-${rule.to_port}" }
      == { https = "443-443", kafka = "9092-9098" }
      && length(aws_vpc_security_group_ingress_rule.task) == 0 && length(aws_lb.this) == 0
      && length(aws_iam_role_policy.task) == 0
    )
    error_message = "Tasks reach more, or are reached by somebody, or may do more than their own role says."
  }
}

run "alarms_that_bring_the_former_version_back" {
  command = apply

  variables {
    rollback_alarms = ["fanbridge-FanbridgeRefuses"]
  }

  assert {
    condition = alltrue([
      for alarms in aws_ecs_service.this.alarms :
      alarms.enable && alarms.rollback && alarms.alarm_names == toset(["fanbridge-FanbridgeRefuses"])
    ]) && length(aws_ecs_service.this.alarms) == 1
    error_message = "A deployment goes on whatever the alarm says."
  }
}
