# The document is that of `fanbridge iam-policy` for the configurations of deploy/examples:
# policies/NAME.json. The provider is the real one and asks AWS nothing.

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
  values = { arn = "arn:aws:iam::123456789012:role/fanbridge" }
}

override_resource {
  target = aws_iam_policy.this
  values = { arn = "arn:aws:iam::123456789012:policy/fanbridge" }
}

override_resource {
  target = aws_iam_role_policy_attachment.this
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
  name  = "fanbridge"
  trust = { ecs = {} }
}

run "a_queue_is_read" {
  command = apply

  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"]
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/stream-sqs-to-kafka.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }

  assert {
    condition     = aws_iam_policy.this[0].policy == output.policy_json && length(aws_iam_policy.this) == 1
    error_message = "The role does not have that document as its one policy."
  }
}

run "topics_of_every_family_are_published_to" {
  command = apply

  variables {
    publish_topic_arns = [
      for family in jsondecode(file("../../families.json")).providers.stream.families :
      "arn:aws:sns:eu-west-1:123456789012:${family.sns}"
    ]
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/stream-webhook-to-sns.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }
}

run "some_topics_in_another_order_and_one_twice" {
  command = apply

  variables {
    publish_topic_arns = [
      "arn:aws:sns:eu-west-1:123456789012:fastpix-media",
      "arn:aws:sns:eu-west-1:123456789012:fastpix-live-stream",
      "arn:aws:sns:eu-west-1:123456789012:fastpix-media",
    ]
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/fastpix.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }
}

run "several_ways_in_and_out" {
  command = apply

  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"]
    confirm_topic_arns = [
      "arn:aws:sns:eu-west-1:123456789012:fanbridge-stream-intake",
      "arn:aws:sns:eu-west-1:111122223333:stream-events",
    ]
    publish_topic_arns = concat(
      ["arn:aws:sns:eu-west-1:123456789012:fanbridge-alerts"],
      [
        for topic in [
          "stream-video-session", "stream-unclassified", "fastpix-media", "fastpix-unclassified",
          "github-unclassified",
        ] : "arn:aws:sns:eu-west-1:123456789012:billing-${topic}.fifo"
      ],
    )
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/complete.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }
}

run "the_same_with_the_doctor" {
  command = apply

  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"]
    confirm_topic_arns = [
      "arn:aws:sns:eu-west-1:123456789012:fanbridge-stream-intake",
      "arn:aws:sns:eu-west-1:111122223333:stream-events",
    ]
    publish_topic_arns = concat(
      ["arn:aws:sns:eu-west-1:123456789012:fanbridge-alerts"],
      [
        for topic in [
          "stream-video-session", "stream-unclassified", "fastpix-media", "fastpix-unclassified",
          "github-unclassified",
        ] : "arn:aws:sns:eu-west-1:123456789012:billing-${topic}.fifo"
      ],
    )
    allow_doctor = true
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/complete+doctor.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }
}

run "the_same_with_keys_and_leave_to_make_topics" {
  command = apply

  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"]
    confirm_topic_arns = [
      "arn:aws:sns:eu-west-1:123456789012:fanbridge-stream-intake",
      "arn:aws:sns:eu-west-1:111122223333:stream-events",
    ]
    publish_topic_arns = concat(
      ["arn:aws:sns:eu-west-1:123456789012:fanbridge-alerts"],
      [
        for topic in [
          "stream-video-session", "stream-unclassified", "fastpix-media", "fastpix-unclassified",
          "github-unclassified",
        ] : "arn:aws:sns:eu-west-1:123456789012:billing-${topic}.fifo"
      ],
    )
    queue_kms_key_arns  = ["arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"]
    topic_kms_key_arns  = ["arn:aws:kms:eu-west-1:123456789012:key/2222aaaa-22bb-33cc-44dd-5555eeee6666"]
    secret_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/3333aaaa-22bb-33cc-44dd-5555eeee6666"]
    allow_doctor        = true
    allow_topics_apply  = true
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/complete+keys.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }
}

run "a_cluster_of_msk_with_more_topics_than_one_policy_has_room_for" {
  command = apply

  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"]
    msk = [{
      cluster_arn = join("/", [
        "arn:aws:kafka:eu-west-1:123456789012:cluster", "events", "5d1c2f0a-0b6e-4f6e-9c55-0c7a2b1c3d4e-7",
      ])
      topics = jsondecode(file("../../families.json")).providers.stream.families[*].kafka
    }]
    allow_doctor       = true
    allow_topics_apply = true
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json)) == jsonencode(jsondecode(
      file("tests/policies/stream-sqs-to-kafka+msk.json")
    ))
    error_message = "The document is another one: ${output.policy_json}"
  }

  assert {
    condition = length(aws_iam_policy.this) > 1 && alltrue([
      for policy in aws_iam_policy.this : length(policy.policy) <= 6144
    ])
    error_message = "The document was not cut into policies that IAM takes."
  }

  assert {
    condition = toset(flatten([
      for policy in aws_iam_policy.this : [
        for statement in jsondecode(policy.policy).Statement : [
          for pair in setproduct(statement.Action, statement.Resource) : "${pair[0]} on ${pair[1]}"
        ]
      ]
      ])) == toset(flatten([
      for statement in jsondecode(output.policy_json).Statement : [
        for pair in setproduct(statement.Action, statement.Resource) : "${pair[0]} on ${pair[1]}"
      ]
    ]))
    error_message = "The policies together do not allow exactly what the document does."
  }
}

run "secrets_and_parameters_are_read" {
  command = apply

  variables {
    secret_arns    = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:fanbridge/stream-??????"]
    parameter_arns = ["arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/token"]
  }

  assert {
    condition = jsonencode(jsondecode(output.policy_json).Statement) == jsonencode([
      {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:fanbridge/stream-??????"]
      },
      {
        Sid      = "ReadParameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = ["arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/token"]
      },
    ])
    error_message = "The document is another one: ${output.policy_json}"
  }
}

run "a_bridge_that_needs_nothing_of_aws" {
  command = apply

  assert {
    condition     = output.policy_json == null && length(aws_iam_policy.this) == 0
    error_message = "The role may do something."
  }

  # The document of every configuration has a run above.
  assert {
    condition = output.policy_json == null && fileset("tests/policies", "*.json") == toset([
      "complete+doctor.json", "complete+keys.json", "complete.json", "fastpix.json",
      "stream-sqs-to-kafka+msk.json", "stream-sqs-to-kafka.json", "stream-webhook-to-sns.json",
    ])
    error_message = "A document in tests/policies has no run here."
  }
}
