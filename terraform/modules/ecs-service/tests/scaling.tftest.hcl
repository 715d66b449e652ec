# What scales the service, and the sidecar that brings its metrics to CloudWatch. The provider is the real one
# and asks AWS nothing.

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

run "tasks_that_scale_and_a_sidecar_for_metrics" {
  command = apply

  variables {
    autoscaling = { min = 2, max = 6, oldest_pending_seconds = 60 }
    metrics     = { image = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3" }
  }

  assert {
    condition = (
      aws_appautoscaling_target.this.min_capacity == 2 && aws_appautoscaling_target.this.max_capacity == 6
      && aws_appautoscaling_policy.cpu[0].target_tracking_scaling_policy_configuration[0].target_value == 60
    )
    error_message = "The number of tasks does not follow their CPU."
  }

  assert {
    condition = alltrue([
      for metric in [one(one(aws_appautoscaling_policy.oldest_pending[0]
        .target_tracking_scaling_policy_configuration).customized_metric_specification)] : alltrue([
        metric.namespace == "fanbridge", metric.metric_name == "fanbridge_sink_oldest_pending_seconds",
        metric.statistic == "Maximum", one(metric.dimensions).name == "bridge",
        one(metric.dimensions).value == "fanbridge",
      ])
    ])
    error_message = "The number of tasks does not follow the oldest event."
  }

  assert {
    condition = alltrue([
      for collector in [yamldecode(one([
        for one in jsondecode(aws_ecs_task_definition.this.container_definitions)[2].environment : one.value
        if one.name == "AOT_CONFIG_CONTENT"
        ]))] : alltrue([
        for scrape in collector.receivers.prometheus.config.scrape_configs : alltrue([
          scrape.static_configs[0].targets == ["127.0.0.1:9090"],
          scrape.static_configs[0].labels.bridge == "fanbridge",
          scrape.authorization.credentials == "$${env:FANBRIDGE_METRICS_TOKEN}",
          can(regex(scrape.metric_relabel_configs[0].regex, "fanbridge_ack_duration_seconds_bucket")),
          collector.exporters.awsemf.namespace == "fanbridge",
          collector.exporters.awsemf.log_group_name == "/ecs/fanbridge/metrics",
          length(collector.exporters.awsemf.metric_declarations)
          == length(jsondecode(file("../../metrics.json")).dimensions),
        ])
      ])
    ])
    error_message = "The sidecar scrapes or writes something else."
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[2].secrets == [
      { name = "FANBRIDGE_METRICS_TOKEN", valueFrom = var.secrets.FANBRIDGE_METRICS_TOKEN },
    ]
    error_message = "The sidecar has no metrics token, or more than that."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.task[0].policy).Statement) == jsonencode([{
      Sid    = "WriteMetrics"
      Effect = "Allow"
      Action = ["logs:PutLogEvents", "logs:DescribeLogStreams", "logs:CreateLogStream"]
      Resource = [
        "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/fanbridge/metrics:*",
        "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/fanbridge/metrics",
      ]
    }])
    error_message = "The task may do something else: ${aws_iam_role_policy.task[0].policy}"
  }

  assert {
    condition     = aws_iam_role_policy.task[0].role == "fanbridge" && output.metrics_namespace == "fanbridge"
    error_message = "The policy is another role's."
  }
}

run "instances_of_the_clusters_own_and_commands" {
  command = apply

  variables {
    launch_type     = "EC2"
    architecture    = "ARM64"
    cpu             = 512
    execute_command = true
  }

  assert {
    condition = (
      aws_ecs_service.this.launch_type == "EC2"
      && length(aws_ecs_service.this.ordered_placement_strategy) == 2
      && aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64"
    )
    error_message = "The service is not spread over instances."
  }

  assert {
    condition = (
      !jsondecode(aws_ecs_task_definition.this.container_definitions)[1].readonlyRootFilesystem
      && length([
        for statement in jsondecode(aws_iam_role_policy.task[0].policy).Statement :
        statement if statement.Sid == "ExecuteCommands"
      ]) == 1
    )
    error_message = "Commands could not be run."
  }
}
