# Who takes the role. Each statement names the one workload that is meant, so that no other of its service
# can.

locals {
  account = data.aws_caller_identity.current.account_id

  ecs_trust = var.trust.ecs == null ? [] : [{
    Sid       = "TasksAssume"
    Effect    = "Allow"
    Action    = ["sts:AssumeRole"]
    Principal = { Service = ["ecs-tasks.amazonaws.com"] }
    Condition = {
      StringEquals = { "aws:SourceAccount" = local.account }
      ArnLike = {
        "aws:SourceArn" = join(":", [
          "arn", data.aws_partition.current.partition, "ecs", data.aws_region.current.region,
          local.account, "*",
        ])
      }
    }
  }]

  ec2_trust = var.trust.ec2 == null ? [] : [{
    Sid       = "InstancesAssume"
    Effect    = "Allow"
    Action    = ["sts:AssumeRole"]
    Principal = { Service = ["ec2.${data.aws_partition.current.dns_suffix}"] }
  }]

  # The issuer without its scheme, as IAM names the claims of its tokens.
  issuer = try(split(":oidc-provider/", var.trust.irsa.oidc_provider_arn)[1], "")
  irsa_trust = var.trust.irsa == null ? [] : [{
    Sid       = "ServiceAccountAssumes"
    Effect    = "Allow"
    Action    = ["sts:AssumeRoleWithWebIdentity"]
    Principal = { Federated = [var.trust.irsa.oidc_provider_arn] }
    Condition = {
      StringEquals = {
        "${local.issuer}:aud" = "sts.amazonaws.com"
        "${local.issuer}:sub" = join(":", [
          "system:serviceaccount", var.trust.irsa.namespace, var.trust.irsa.service_account,
        ])
      }
    }
  }]

  # A cluster that is named for its association is the one that is meant.
  eks_cluster_arn = var.trust.pod_identity == null ? null : try(coalesce(
    var.trust.pod_identity.cluster_arn,
    var.trust.pod_identity.cluster == null ? null : join(":", [
      "arn", data.aws_partition.current.partition, "eks", data.aws_region.current.region, local.account,
      "cluster/${var.trust.pod_identity.cluster}",
    ]),
  ), null)
  pod_trust = var.trust.pod_identity == null ? [] : [{
    Sid       = "PodsAssume"
    Effect    = "Allow"
    Action    = ["sts:AssumeRole", "sts:TagSession"]
    Principal = { Service = ["pods.eks.amazonaws.com"] }
    Condition = {
      StringEquals = merge(
        {
          "aws:SourceAccount"                         = local.account
          "aws:RequestTag/kubernetes-namespace"       = var.trust.pod_identity.namespace
          "aws:RequestTag/kubernetes-service-account" = var.trust.pod_identity.service_account
        },
        local.eks_cluster_arn == null ? {} : {
          "aws:RequestTag/eks-cluster-arn" = local.eks_cluster_arn
        },
      )
    }
  }]

  trust_json = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.ecs_trust, local.ec2_trust, local.irsa_trust, local.pod_trust)
  })
}
