# The role that starts tasks, what the sidecar and the file system add to the bridge's own role, and the role
# that makes volumes.

locals {
  account = data.aws_caller_identity.current.account_id
  aws_arn = "arn:${data.aws_partition.current.partition}"

  # ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME: an image of ECR is pulled with a right to its repository.
  ecr = [
    for image in compact([var.image, var.configuration_image, try(var.metrics.image, "")]) :
    regex("^([0-9]{12})[.]dkr[.]ecr[.]([a-z0-9-]+)[.][^/]+/([^:@]+)", image)
    if can(regex("^[0-9]{12}[.]dkr[.]ecr[.]", image))
  ]
  ecr_arns = sort(distinct([
    for one in local.ecr : "${local.aws_arn}:ecr:${one[1]}:${one[0]}:repository/${one[2]}"
  ]))

  # Of `ARN:KEY:STAGE:VERSION` the ARN, which has seven parts.
  secret_arns = sort(distinct(concat(
    [
      for arn in values(var.secrets) : join(":", slice(split(":", arn), 0, 7))
      if strcontains(arn, ":secretsmanager:")
    ],
    compact([var.registry_secret_arn]),
  )))
  parameter_arns = sort(distinct([for arn in values(var.secrets) : arn if strcontains(arn, ":ssm:")]))
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution"
  description          = "Starts tasks of the bridge ${var.name}."
  assume_role_policy   = data.aws_iam_policy_document.tasks_assume.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "tasks_assume" {
  statement {
    sid     = "TasksAssume"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  dynamic "statement" {
    for_each = length(local.ecr_arns) > 0 ? [1] : []

    content {
      sid       = "PullImages"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = local.ecr_arns
    }
  }

  # The one action of ECR that has no resource.
  dynamic "statement" {
    for_each = length(local.ecr_arns) > 0 ? [1] : []

    content {
      sid       = "LogInToEcr"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = length(local.secret_arns) > 0 ? [1] : []

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.secret_arns
    }
  }

  dynamic "statement" {
    for_each = length(local.parameter_arns) > 0 ? [1] : []

    content {
      sid       = "ReadParameters"
      actions   = ["ssm:GetParameters"]
      resources = local.parameter_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_kms_key_arns) > 0 ? [1] : []

    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = sort(var.secret_kms_key_arns)
    }
  }
}

# What the task's role needs beside the bridge's own rights, which the module iam gives it.
resource "aws_iam_role_policy" "task" {
  count = var.metrics != null || var.execute_command || local.alone ? 1 : 0

  name   = "${var.name}-task"
  role   = element(split("/", var.task_role_arn), -1)
  policy = data.aws_iam_policy_document.task.json
}

data "aws_iam_policy_document" "task" {
  dynamic "statement" {
    for_each = aws_cloudwatch_log_group.metrics[*].arn

    content {
      sid       = "WriteMetrics"
      actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      resources = [statement.value, "${statement.value}:*"]
    }
  }

  dynamic "statement" {
    for_each = local.alone ? [1] : []

    content {
      sid     = "MountFileSystem"
      actions = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      resources = [join(":", [
        local.aws_arn, "elasticfilesystem", data.aws_region.current.region, local.account,
        "file-system/${var.storage.file_system_id}",
      ])]

      condition {
        test     = "StringEquals"
        variable = "elasticfilesystem:AccessPointArn"
        values = [join(":", [
          local.aws_arn, "elasticfilesystem", data.aws_region.current.region, local.account,
          "access-point/${var.storage.access_point_id}",
        ])]
      }
    }
  }

  # The session of `execute-command`; these actions have no resource.
  dynamic "statement" {
    for_each = var.execute_command ? [1] : []

    content {
      sid = "ExecuteCommands"
      actions = [
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      resources = ["*"]
    }
  }
}
