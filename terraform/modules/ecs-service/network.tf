# How providers reach the bridge, and what it may reach.

locals {
  balancer = var.load_balancer == null ? [] : [var.load_balancer]
  is_alb   = try(var.load_balancer.kind == "alb", false)
  # Without `try`, which knows nothing of an object as long as an ARN in it is not known.
  web_acl = var.load_balancer == null ? null : var.load_balancer.web_acl
}

resource "aws_security_group" "task" {
  name        = "${var.name}-task"
  description = "Tasks of the bridge ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-task" })
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = var.egress

  security_group_id = aws_security_group.task.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value.from_port
  to_port           = each.value.to_port
  cidr_ipv4         = each.value.cidr_ipv4
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "file_system" {
  count = var.storage.kind == "efs" ? 1 : 0

  security_group_id            = aws_security_group.task.id
  description                  = "The file system of the spool"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = var.storage.file_system_sg_id
  tags                         = var.tags
}

# Deliveries on 8080; on 9090 the balancer asks /readyz, which needs no token.
resource "aws_vpc_security_group_ingress_rule" "task" {
  for_each = var.load_balancer == null ? {} : { public = 8080, admin = 9090 }

  security_group_id            = aws_security_group.task.id
  description                  = "The load balancer: ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.balancer[0].id
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "admin" {
  for_each = var.admin_security_group_ids

  security_group_id            = aws_security_group.task.id
  description                  = "Admin listener: ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = 9090
  to_port                      = 9090
  referenced_security_group_id = each.value
  tags                         = var.tags
}

resource "aws_security_group" "balancer" {
  count = length(local.balancer)

  name        = "${var.name}-balancer"
  description = "Load balancer of the bridge ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-balancer" })
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each = var.load_balancer == null ? toset([]) : var.load_balancer.ingress_cidr_ipv4

  security_group_id = aws_security_group.balancer[0].id
  description       = "Providers"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.value
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  for_each = var.load_balancer == null ? {} : { public = 8080, admin = 9090 }

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "The tasks: ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.task.id
  tags                         = var.tags
}

resource "aws_lb" "this" {
  count = length(local.balancer)

  name                       = var.name
  load_balancer_type         = local.is_alb ? "application" : "network"
  internal                   = var.load_balancer.internal
  subnets                    = var.load_balancer.subnet_ids
  security_groups            = [aws_security_group.balancer[0].id]
  enable_deletion_protection = var.load_balancer.deletion_protection

  # Of an alb only. The bridge keeps idle connections for 75 s: longer than the balancer, so that it never
  # closes one into which a delivery is just being written.
  idle_timeout               = local.is_alb ? 60 : null
  drop_invalid_header_fields = local.is_alb ? true : null
  # Of an nlb only; an alb always does so.
  enable_cross_zone_load_balancing = local.is_alb ? null : true

  dynamic "access_logs" {
    for_each = var.load_balancer.access_log_bucket == null ? [] : [var.load_balancer.access_log_bucket]

    content {
      bucket  = access_logs.value
      prefix  = var.name
      enabled = true
    }
  }

  tags = var.tags
}

resource "aws_lb_target_group" "this" {
  count = length(local.balancer)

  name                 = "${var.name}-${var.load_balancer.kind}"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  port                 = 8080
  protocol             = local.is_alb ? "HTTP" : "TCP"
  deregistration_delay = var.load_balancer.deregistration_delay

  load_balancing_algorithm_type = local.is_alb ? "least_outstanding_requests" : null
  preserve_client_ip            = local.is_alb ? null : "true"
  connection_termination        = local.is_alb ? null : true

  # ECS ends a task that fails this. A task whose disk ends with it is replaced by an empty one when it cannot
  # store any more. A spool that lasts is opened by the next task as full as it was: there, what counts is
  # that it has been opened, and the bridge itself answers 503 until its sinks take events again.
  health_check {
    protocol            = "HTTP"
    port                = "9090"
    path                = local.alone ? "/startupz" : "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  count = length(local.balancer)

  load_balancer_arn = aws_lb.this[0].arn
  port              = 443
  protocol          = local.is_alb ? "HTTPS" : "TLS"
  ssl_policy        = var.load_balancer.ssl_policy
  certificate_arn   = var.load_balancer.certificate_arn
  tags              = var.tags

  # An alb lets deliveries through by the rule below, and nothing else.
  dynamic "default_action" {
    for_each = local.is_alb ? [1] : []

    content {
      type = "fixed-response"

      fixed_response {
        content_type = "text/plain"
        message_body = "not found"
        status_code  = "404"
      }
    }
  }

  dynamic "default_action" {
    for_each = local.is_alb ? [] : [1]

    content {
      type             = "forward"
      target_group_arn = aws_lb_target_group.this[0].arn
    }
  }
}

resource "aws_lb_listener_rule" "in" {
  count = local.is_alb ? 1 : 0

  listener_arn = aws_lb_listener.this[0].arn
  priority     = 10
  tags         = var.tags

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[0].arn
  }

  condition {
    path_pattern {
      values = ["/in/*"]
    }
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  count = local.web_acl == null ? 0 : 1

  resource_arn = aws_lb.this[0].arn
  web_acl_arn  = local.web_acl.arn
}
