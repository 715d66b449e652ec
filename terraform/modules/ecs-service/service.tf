# The service: how many tasks there are, how one version replaces another, and what load changes.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  cluster = split("/", var.cluster_arn)[1]
  # A spool that lasts belongs to one process: the old task ends before the new one begins.
  alone = var.storage.kind == "efs"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_service" "this" {
  name            = var.name
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = var.launch_type
  desired_count   = local.tasks_min

  deployment_minimum_healthy_percent = local.alone ? 0 : 100
  deployment_maximum_percent         = local.alone ? 100 : 200
  availability_zone_rebalancing      = local.alone ? "DISABLED" : "ENABLED"
  # A bridge that opens a large spool is not ready for a while.
  health_check_grace_period_seconds = var.load_balancer == null ? null : (local.alone ? 900 : 180)
  enable_execute_command            = var.execute_command
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  wait_for_steady_state             = true

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = length(var.rollback_alarms) > 0 ? [var.rollback_alarms] : []

    content {
      alarm_names = alarms.value
      enable      = true
      rollback    = true
    }
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.task.id]
    assign_public_ip = var.assign_public_ip
  }

  dynamic "load_balancer" {
    for_each = aws_lb_target_group.this[*].arn

    content {
      target_group_arn = load_balancer.value
      container_name   = "bridge"
      container_port   = 8080
    }
  }

  dynamic "volume_configuration" {
    for_each = var.storage.kind == "ebs" ? [var.storage] : []

    content {
      name = local.spool_volume

      managed_ebs_volume {
        role_arn         = aws_iam_role.volumes[0].arn
        volume_type      = "gp3"
        size_in_gb       = volume_configuration.value.size_gib
        iops             = volume_configuration.value.iops
        throughput       = volume_configuration.value.throughput
        encrypted        = true
        kms_key_id       = volume_configuration.value.kms_key_arn
        file_system_type = "ext4"

        tag_specifications {
          resource_type  = "volume"
          propagate_tags = "SERVICE"
        }
      }
    }
  }

  dynamic "ordered_placement_strategy" {
    for_each = var.launch_type == "EC2" ? ["attribute:ecs.availability-zone", "instanceId"] : []

    content {
      type  = "spread"
      field = ordered_placement_strategy.value
    }
  }

  tags = var.tags

  lifecycle {
    # The scaling target below says how many there are, also without autoscaling.
    ignore_changes = [desired_count]
  }

  depends_on = [
    aws_lb_listener.this, aws_lb_listener_rule.in, aws_iam_role_policy.execution, aws_iam_role_policy.task,
    aws_iam_role_policy_attachment.volumes, aws_iam_role_policy.volumes,
  ]
}

locals {
  tasks_min = try(var.autoscaling.min, var.desired_count)
  tasks_max = try(var.autoscaling.max, var.desired_count)
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  resource_id        = "service/${local.cluster}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = local.tasks_min
  max_capacity       = local.tasks_max
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "cpu" {
  count = var.autoscaling == null ? 0 : 1

  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.autoscaling.cpu_percent
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "oldest_pending" {
  count = try(var.autoscaling.oldest_pending_seconds, null) == null ? 0 : 1

  name               = "${var.name}-oldest-pending"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.autoscaling.oldest_pending_seconds
    scale_out_cooldown = 120
    scale_in_cooldown  = 600

    customized_metric_specification {
      namespace   = var.metrics.namespace
      metric_name = "fanbridge_sink_oldest_pending_seconds"
      statistic   = "Maximum"

      dimensions {
        name  = "bridge"
        value = var.name
      }
    }
  }
}
