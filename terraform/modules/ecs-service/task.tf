# The task: a container that writes the configuration and ends, the bridge, and a sidecar for its metrics.

locals {
  spool_volume  = "spool"
  config_volume = "configuration"
  data_dir      = "/var/lib/fanbridge"
  config_dir    = "/etc/fanbridge"
  user          = "10001:10001"

  # An access point gives its directory to the bridge's user itself.
  prepares_spool = var.storage.kind != "efs"
  preparation = join("\n", concat(
    ["set -eu", "printf '%s\\n' \"$CONFIGURATION\" > ${local.config_dir}/fanbridge.yaml"],
    local.prepares_spool ? ["chown ${local.user} ${local.data_dir}", "chmod 0700 ${local.data_dir}"] : [],
  ))

  logs = {
    for container in ["configuration", "bridge", "metrics"] : container => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.region
        awslogs-stream-prefix = container
        # A log that is away holds nothing up: lines are dropped, and no event is.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }

  config_mount = { sourceVolume = local.config_volume, containerPath = local.config_dir }
  spool_mount  = { sourceVolume = local.spool_volume, containerPath = local.data_dir, readOnly = false }

  configuration_container = {
    name                   = "configuration"
    image                  = var.configuration_image
    essential              = false
    user                   = "0:0"
    entryPoint             = ["/bin/sh", "-c"]
    command                = [local.preparation]
    readonlyRootFilesystem = true
    environment            = [{ name = "CONFIGURATION", value = var.configuration }]
    mountPoints = concat(
      [merge(local.config_mount, { readOnly = false })], local.prepares_spool ? [local.spool_mount] : []
    )
    logConfiguration = local.logs.configuration
  }

  bridge_container = merge(
    {
      name                   = "bridge"
      image                  = var.image
      essential              = true
      user                   = local.user
      readonlyRootFilesystem = !var.execute_command
      dependsOn              = [{ containerName = "configuration", condition = "SUCCESS" }]
      stopTimeout            = var.stop_timeout
      portMappings = [
        { containerPort = 8080, hostPort = 8080, protocol = "tcp", name = "public" },
        { containerPort = 9090, hostPort = 9090, protocol = "tcp", name = "admin" },
      ]
      environment = concat(
        [{ name = "FANBRIDGE_CONFIG", value = "${local.config_dir}/fanbridge.yaml" }],
        [for name, value in var.environment : { name = name, value = value }],
      )
      secrets     = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
      mountPoints = [merge(local.config_mount, { readOnly = true }), local.spool_mount]
      ulimits     = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
      linuxParameters = {
        initProcessEnabled = var.execute_command
        capabilities       = { drop = ["ALL"] }
      }
      # Whether it lives, not whether it is ready: a full disk is no reason to end a bridge that holds events.
      healthCheck = {
        command     = ["CMD", "/usr/bin/fanbridge", "health", "--live"]
        interval    = 15
        timeout     = 5
        retries     = 4
        startPeriod = 120
      }
      logConfiguration = local.logs.bridge
    },
    var.registry_secret_arn == null ? {} : {
      repositoryCredentials = { credentialsParameter = var.registry_secret_arn }
    },
  )

  containers = concat(
    [local.configuration_container, local.bridge_container],
    var.metrics == null ? [] : [local.metrics_container],
  )
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = [var.launch_type]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = var.task_role_arn
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode(local.containers)

  # A rollback starts tasks of the former revision again, so it has to stay registered.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  dynamic "ephemeral_storage" {
    for_each = var.launch_type == "FARGATE" && var.storage.kind == "task" ? [var.storage.size_gib] : []

    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  volume {
    name = local.config_volume
  }

  volume {
    name                = local.spool_volume
    configure_at_launch = var.storage.kind == "ebs" ? true : null

    dynamic "efs_volume_configuration" {
      for_each = var.storage.kind == "efs" ? [var.storage] : []

      content {
        file_system_id     = efs_volume_configuration.value.file_system_id
        transit_encryption = "ENABLED"

        authorization_config {
          access_point_id = efs_volume_configuration.value.access_point_id
          iam             = "ENABLED"
        }
      }
    }
  }

  tags = var.tags

  lifecycle {
    precondition {
      condition     = length(local.unsafe) == 0
      error_message = <<-EOT
        The disk ends with its task, and what is acknowledged would be on that disk alone (source → sink):
        ${join(", ", local.unsafe)}.
        Let sources wait for their sinks: `ack: { after: [${join(", ", local.kept_sinks)}] }` at the top of
        the configuration, which a source's own `ack` replaces. Or choose `storage.kind = "efs"`, or name
        sinks whose events may be lost in `storage.may_lose_sinks`. Files are on the same disk: to wait for
        them does not help.
      EOT
    }

    precondition {
      condition     = length(local.missing_variables) == 0
      error_message = <<-EOT
        The configuration names variables that the task does not have: ${join(", ", local.missing_variables)}.
        Give each in `secrets`, or in `environment` if it is no secret.
      EOT
    }

    precondition {
      condition     = local.reads_metrics_alone
      error_message = <<-EOT
        With metrics the configuration needs `admin: { metrics_token: ${local.metrics_token} }`, as in
        metrics.token_variable, and another admin.token: the sidecar shows that token to read /metrics, and
        with the admin token it could pause sinks and drop events.
      EOT
    }

    precondition {
      condition     = length(local.files) == 0
      error_message = <<-EOT
        The configuration reads files that no task has: ${join(", ", local.files)}.
        Write secrets as `env:NAME` and name them in `secrets`, or as `aws-sm:…` or `aws-ssm:…`.
      EOT
    }

    precondition {
      condition = (
        var.storage.kind == "efs" || local.spool_bytes_max <= var.storage.size_gib * 0.9 * pow(1024, 3)
      )
      error_message = <<-EOT
        The spool may grow (spool.bytes_max, 20 GiB if it is not stated) beyond nine tenths of the disk
        (storage.size_gib, ${var.storage.size_gib}): make the disk larger or the bound smaller.
      EOT
    }

    precondition {
      condition     = var.stop_timeout >= local.shutdown_grace + 15
      error_message = <<-EOT
        A stop would kill the bridge while it drains: stop_timeout (${var.stop_timeout}) has to be 15 more
        than the configuration's shutdown_grace_seconds (${local.shutdown_grace}).
      EOT
    }
  }
}
