# Who can take the role, to the letter. The provider is the real one and asks AWS nothing.

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
  target = aws_iam_role.this
  values = { arn = "arn:aws:iam::123456789012:role/events/fanbridge" }
}

override_resource {
  target = aws_iam_role_policy_attachment.additional
}

override_resource {
  target = aws_iam_instance_profile.this
}

override_resource {
  target = aws_eks_pod_identity_association.this
}

variables {
  name = "fanbridge"
}

run "tasks_of_ecs_of_this_account_and_region" {
  command = apply

  variables {
    trust                    = { ecs = {} }
    path                     = "/events/"
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    additional_policy_arns   = { traces = "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess" }
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.this.assume_role_policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "TasksAssume"
        Effect    = "Allow"
        Action    = ["sts:AssumeRole"]
        Principal = { Service = ["ecs-tasks.amazonaws.com"] }
        Condition = {
          ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:eu-west-1:123456789012:*" }
          StringEquals = { "aws:SourceAccount" = "123456789012" }
        }
      }]
    })
    error_message = "Somebody else can take the role: ${aws_iam_role.this.assume_role_policy}"
  }

  assert {
    condition = (
      aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
      && aws_iam_role.this.path == "/events/"
    )
    error_message = "The role has no boundary, or another path."
  }

  assert {
    condition     = keys(aws_iam_role_policy_attachment.additional) == ["traces"]
    error_message = "The further policy is not attached."
  }
}

run "one_service_account_by_the_clusters_tokens" {
  command = apply

  variables {
    trust = {
      irsa = {
        oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/A1"
        namespace         = "events"
        service_account   = "fanbridge"
      }
    }
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.this.assume_role_policy).Statement) == jsonencode([{
      Sid    = "ServiceAccountAssumes"
      Effect = "Allow"
      Action = ["sts:AssumeRoleWithWebIdentity"]
      Principal = {
        Federated = ["arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/A1"]
      }
      Condition = {
        StringEquals = {
          "oidc.eks.eu-west-1.amazonaws.com/id/A1:aud" = "sts.amazonaws.com"
          "oidc.eks.eu-west-1.amazonaws.com/id/A1:sub" = "system:serviceaccount:events:fanbridge"
        }
      }
    }])
    error_message = "Somebody else can take the role: ${aws_iam_role.this.assume_role_policy}"
  }
}

run "one_service_account_by_pod_identity" {
  command = apply

  variables {
    trust = {
      pod_identity = {
        namespace       = "events"
        service_account = "fanbridge"
        cluster         = "main"
      }
    }
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.this.assume_role_policy).Statement) == jsonencode([{
      Sid       = "PodsAssume"
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = ["pods.eks.amazonaws.com"] }
      Condition = {
        StringEquals = {
          "aws:SourceAccount"                         = "123456789012"
          "aws:RequestTag/kubernetes-namespace"       = "events"
          "aws:RequestTag/kubernetes-service-account" = "fanbridge"
          "aws:RequestTag/eks-cluster-arn"            = "arn:aws:eks:eu-west-1:123456789012:cluster/main"
        }
      }
    }])
    error_message = "Somebody else can take the role: ${aws_iam_role.this.assume_role_policy}"
  }

  assert {
    condition = (
      aws_eks_pod_identity_association.this[0].cluster_name == "main"
      && aws_eks_pod_identity_association.this[0].namespace == "events"
      && aws_eks_pod_identity_association.this[0].service_account == "fanbridge"
    )
    error_message = "The service account is not associated with the role."
  }
}

run "a_cluster_of_another_region_by_pod_identity" {
  command = apply

  variables {
    trust = {
      pod_identity = {
        namespace       = "events"
        service_account = "fanbridge"
        cluster_arn     = "arn:aws:eks:us-east-1:123456789012:cluster/other"
      }
    }
  }

  assert {
    condition = (
      jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringEquals[
        "aws:RequestTag/eks-cluster-arn"
      ] == "arn:aws:eks:us-east-1:123456789012:cluster/other"
    )
    error_message = "Another cluster can take the role: ${aws_iam_role.this.assume_role_policy}"
  }
}

run "instances_and_tasks" {
  command = apply

  variables {
    trust = { ec2 = {}, ecs = {} }
  }

  assert {
    condition = (
      jsondecode(output.trust_policy_json).Statement[*].Sid == ["TasksAssume", "InstancesAssume"]
    )
    error_message = "Not both can take the role: ${output.trust_policy_json}"
  }

  assert {
    condition     = output.instance_profile_name == "fanbridge"
    error_message = "Instances have no profile."
  }
}
