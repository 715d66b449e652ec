# The statements, in the order and spelling of `fanbridge iam-policy`: a test compares them byte for byte, but
# for white space. So they are written here and not by a data source, which spells one action as a text.

locals {
  msk_topic_arns = flatten([
    for cluster in var.msk : [
      for topic in cluster.topics : "${replace(cluster.cluster_arn, ":cluster/", ":topic/")}/${topic}"
    ]
  ])
  inspects = var.allow_doctor || var.allow_topics_apply

  # `wanted` is known in a plan also where ARNs are not yet, and so is how many resources a statement has.
  candidates = [
    {
      sid     = "ReadQueues", wanted = true, resources = var.queue_arns
      actions = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
    },
    {
      sid     = "ConfirmSubscriptions", wanted = true, resources = var.confirm_topic_arns
      actions = ["sns:ConfirmSubscription"]
    },
    {
      sid     = "PublishTopics", wanted = true, resources = var.publish_topic_arns
      actions = ["sns:Publish"]
    },
    {
      sid     = "ConnectCluster", wanted = true, resources = var.msk[*].cluster_arn
      actions = ["kafka-cluster:Connect", "kafka-cluster:WriteDataIdempotently"]
    },
    {
      sid     = "WriteTopics", wanted = true, resources = local.msk_topic_arns
      actions = ["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"]
    },
    {
      sid     = "ReadSecrets", wanted = true, resources = var.secret_arns
      actions = ["secretsmanager:GetSecretValue"]
    },
    {
      sid     = "ReadParameters", wanted = true, resources = var.parameter_arns
      actions = ["ssm:GetParameter"]
    },
    {
      sid     = "DecryptQueues", wanted = true, resources = var.queue_kms_key_arns
      actions = ["kms:Decrypt"]
    },
    {
      sid     = "EncryptTopics", wanted = true, resources = var.topic_kms_key_arns
      actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    },
    {
      sid     = "DecryptSecrets", wanted = true, resources = var.secret_kms_key_arns
      actions = ["kms:Decrypt"]
    },
    {
      sid     = "InspectQueues", wanted = var.allow_doctor, resources = var.queue_arns
      actions = ["sqs:GetQueueAttributes"]
    },
    {
      sid     = "InspectTopics", wanted = local.inspects, resources = var.publish_topic_arns
      actions = ["sns:GetTopicAttributes"]
    },
    {
      sid     = "CreateTopics", wanted = var.allow_topics_apply, resources = var.publish_topic_arns
      actions = ["sns:CreateTopic", "sns:TagResource"]
    },
    {
      sid     = "InspectClusterTopics", wanted = local.inspects, resources = local.msk_topic_arns
      actions = ["kafka-cluster:DescribeTopicDynamicConfiguration"]
    },
    {
      sid     = "CreateClusterTopics", wanted = var.allow_topics_apply, resources = local.msk_topic_arns
      actions = ["kafka-cluster:CreateTopic"]
    },
  ]

  statements = [for one in local.candidates : one if one.wanted && length(one.resources) > 0]

  policy_json = length(local.statements) == 0 ? null : jsonencode({
    Version = "2012-10-17"
    Statement = [
      for one in local.statements :
      { Sid = one.sid, Effect = "Allow", Action = one.actions, Resource = distinct(sort(one.resources)) }
    ]
  })

  # IAM takes 6144 characters in a policy, which are about forty resources with their actions; the rest goes
  # into further policies.
  resources_max = 40
  policies = ceil(
    sum(concat([0], [for one in local.statements : length(one.resources)])) / local.resources_max
  )

  pairs = flatten([
    for one in local.statements : [
      for resource in distinct(sort(one.resources)) :
      { sid = one.sid, actions = one.actions, resource = resource }
    ]
  ])

  parts = [
    for chunk in chunklist(local.pairs, local.resources_max) : [
      for sid in distinct(chunk[*].sid) : {
        Sid      = sid
        Effect   = "Allow"
        Action   = [for pair in chunk : pair.actions if pair.sid == sid][0]
        Resource = [for pair in chunk : pair.resource if pair.sid == sid]
      }
    ]
  ]

  # How many policies there are is known in a plan, before it is known whether an ARN was listed twice. If
  # that leaves fewer parts, the first one is attached again, which allows nothing more.
  attached_json = [
    for n in range(local.policies) :
    jsonencode({ Version = "2012-10-17", Statement = try(local.parts[n], local.parts[0]) })
  ]
}
