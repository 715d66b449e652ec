# How providers reach the service. The provider is the real one and asks AWS nothing.

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

run "an_alb_that_lets_deliveries_through_and_nothing_else" {
  command = apply

  variables {
    load_balancer = {
      certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids      = ["subnet-1a", "subnet-1b"]
      web_acl         = { arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/events/1" }
    }
    admin_security_group_ids = { prometheus = "sg-0prometheus" }
  }

  assert {
    condition = (
      aws_lb.this[0].load_balancer_type == "application" && aws_lb.this[0].drop_invalid_header_fields
      && aws_lb.this[0].idle_timeout == 60 && aws_lb.this[0].enable_deletion_protection
    )
    error_message = "The balancer is not as it has to be."
  }

  assert {
    condition = (
      aws_lb_listener.this[0].protocol == "HTTPS"
      && aws_lb_listener.this[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
      && aws_lb_listener.this[0].default_action[0].type == "fixed-response"
      && aws_lb_listener.this[0].default_action[0].fixed_response[0].status_code == "404"
      && tolist(tolist(aws_lb_listener_rule.in[0].condition)[0].path_pattern[0].values) == tolist(["/in/*"])
    )
    error_message = "Something but /in/ is let through, or without TLS."
  }

  assert {
    condition = (
      aws_lb_target_group.this[0].health_check[0].path == "/readyz"
      && aws_lb_target_group.this[0].health_check[0].port == "9090"
      && tostring(aws_lb_target_group.this[0].deregistration_delay) == "30"
      && aws_lb_target_group.this[0].protocol == "HTTP" && aws_lb_target_group.this[0].target_type == "ip"
    )
    error_message = "Deliveries would come to a bridge that is not ready."
  }

  assert {
    condition = (
      { for name, rule in aws_vpc_security_group_ingress_rule.task :
      name => [rule.from_port, rule.referenced_security_group_id] }
      == { admin = [9090, "sg-0balancer"], public = [8080, "sg-0balancer"] }
      && one(values(aws_vpc_security_group_ingress_rule.admin)).referenced_security_group_id
      == "sg-0prometheus"
    )
    error_message = "Tasks are reached by somebody else."
  }

  assert {
    condition = (
      one(aws_ecs_service.this.load_balancer).container_name == "bridge"
      && one(aws_ecs_service.this.load_balancer).container_port == 8080
      && aws_ecs_service.this.health_check_grace_period_seconds == 180
      && aws_wafv2_web_acl_association.this[0].web_acl_arn == var.load_balancer.web_acl.arn
    )
    error_message = "The service is not behind the balancer."
  }
}

run "an_nlb_that_keeps_addresses" {
  command = apply

  variables {
    load_balancer = {
      kind                 = "nlb"
      certificate_arn      = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids           = ["subnet-1a", "subnet-1b"]
      ingress_cidr_ipv4    = ["198.51.100.0/24"]
      deregistration_delay = 45
    }
  }

  assert {
    condition = (
      aws_lb.this[0].load_balancer_type == "network" && aws_lb_listener.this[0].protocol == "TLS"
      && aws_lb_listener.this[0].default_action[0].type == "forward" && length(aws_lb_listener_rule.in) == 0
    )
    error_message = "The balancer is not as it has to be."
  }

  assert {
    condition = (
      aws_lb_target_group.this[0].protocol == "TCP"
      && aws_lb_target_group.this[0].preserve_client_ip == "true"
      && aws_lb_target_group.this[0].health_check[0].protocol == "HTTP"
      && aws_lb_target_group.this[0].health_check[0].path == "/readyz"
    )
    error_message = "The target group is not as it has to be."
  }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.balancer) == ["198.51.100.0/24"]
    error_message = "Others than the stated networks reach the balancer."
  }

  assert {
    condition = (
      output.load_balancer_arn == aws_lb.this[0].arn
      && output.target_group_arn == aws_lb_target_group.this[0].arn
      && output.load_balancer_security_group_id == "sg-0balancer"
    )
    error_message = "Nobody could make alarms of the balancer."
  }
}

run "a_spool_that_lasts_is_not_ended_for_being_full" {
  command = apply

  variables {
    desired_count = 1
    storage = {
      kind              = "efs"
      file_system_id    = "fs-0"
      access_point_id   = "fsap-0"
      file_system_sg_id = "sg-0files"
    }
    load_balancer = {
      certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
      subnet_ids      = ["subnet-1a", "subnet-1b"]
    }
  }

  assert {
    condition = (
      aws_lb_target_group.this[0].health_check[0].path == "/startupz"
      && aws_ecs_service.this.health_check_grace_period_seconds == 900
    )
    error_message = "ECS would end a bridge whose disk is full, again and again."
  }
}
