# The role with which ECS makes a volume for each task, and removes it with the task.

resource "aws_iam_role" "volumes" {
  count = var.storage.kind == "ebs" ? 1 : 0

  name                 = "${var.name}-volumes"
  description          = "Makes and removes the volumes of tasks of the bridge ${var.name}."
  assume_role_policy   = data.aws_iam_policy_document.volumes_trust[0].json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

data "aws_iam_policy_document" "volumes_trust" {
  count = var.storage.kind == "ebs" ? 1 : 0

  statement {
    sid     = "EcsAssumes"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "volumes" {
  count = var.storage.kind == "ebs" ? 1 : 0

  role       = aws_iam_role.volumes[0].name
  policy_arn = "${local.aws_arn}:iam::aws:policy/service-role/AmazonECSInfrastructureRolePolicyForVolumes"
}

# AWS's policy has nothing of keys: a volume with a key of yours needs these, as EBS asks for them. Without
# `kms_key_arn` the volume has the account's key for EBS, which may be one of yours, too.
resource "aws_iam_role_policy" "volumes" {
  count = var.storage.kind == "ebs" ? 1 : 0

  name   = "encrypt-volumes"
  role   = aws_iam_role.volumes[0].id
  policy = data.aws_iam_policy_document.volumes_key[0].json
}

locals {
  volume_key_arn = var.storage.kms_key_arn != null ? var.storage.kms_key_arn : join(":", [
    local.aws_arn, "kms", data.aws_region.current.region, local.account, "key/*",
  ])
  by_ec2 = ["ec2.${data.aws_region.current.region}.${data.aws_partition.current.dns_suffix}"]
}

data "aws_iam_policy_document" "volumes_key" {
  count = var.storage.kind == "ebs" ? 1 : 0

  statement {
    sid = "EncryptVolumes"
    actions = [
      "kms:Decrypt",
      "kms:DescribeKey",
      "kms:GenerateDataKeyWithoutPlaintext",
      "kms:ReEncryptFrom",
      "kms:ReEncryptTo",
    ]
    resources = [local.volume_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = local.by_ec2
    }
  }

  statement {
    sid       = "LetVolumesBeAttached"
    actions   = ["kms:CreateGrant"]
    resources = [local.volume_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = local.by_ec2
    }

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}
