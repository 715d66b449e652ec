# The role of a running bridge: what it may do is what its configuration needs, resource by resource.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

resource "aws_iam_role" "this" {
  name                 = var.name
  path                 = var.path
  description          = "What the bridge ${var.name} may do."
  assume_role_policy   = local.trust_json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_policy" "this" {
  count = local.policies

  name        = count.index == 0 ? var.name : "${var.name}-${count.index + 1}"
  path        = var.path
  description = "What the bridge ${var.name} may do (${count.index + 1} of ${local.policies})."
  policy      = local.attached_json[count.index]
  tags        = var.tags

  lifecycle {
    precondition {
      condition     = length(local.attached_json[count.index]) <= 6144
      error_message = "A policy has at most 6144 characters, and this one has more: the names are too long."
    }
  }
}

resource "aws_iam_role_policy_attachment" "this" {
  count = local.policies

  role       = aws_iam_role.this.name
  policy_arn = aws_iam_policy.this[count.index].arn
}

resource "aws_iam_role_policy_attachment" "additional" {
  for_each = var.additional_policy_arns

  role       = aws_iam_role.this.name
  policy_arn = each.value
}

resource "aws_iam_instance_profile" "this" {
  count = var.trust.ec2 == null ? 0 : 1

  name = var.name
  path = var.path
  role = aws_iam_role.this.name
  tags = var.tags
}

resource "aws_eks_pod_identity_association" "this" {
  count = try(var.trust.pod_identity.cluster, null) == null ? 0 : 1

  cluster_name    = var.trust.pod_identity.cluster
  namespace       = var.trust.pod_identity.namespace
  service_account = var.trust.pod_identity.service_account
  role_arn        = aws_iam_role.this.arn
  tags            = var.tags
}
