# Who may do what. `Write` and `Read` include `Describe`; it is stated for clusters that audit what is
# granted.

locals {
  producer_operations = concat(
    # `DescribeConfigs` is for `fanbridge doctor` and `topics plan`, which warn of topics that can lose
    # records.
    ["Write", "Describe", "DescribeConfigs"],
    var.producer_can_create ? ["Create"] : [],
  )

  producer_acls = var.producer == null ? [] : [
    for pair in setproduct(local.producer_operations, local.names) : {
      principal = var.producer, operation = pair[0], type = "Topic", name = pair[1], pattern = "Literal"
    }
  ]

  consumer_topics = {
    for who, consumer in var.consumers : who => toset([
      for key in(length(consumer.topics) > 0 ? consumer.topics : toset(keys(local.topics))) :
      local.topics[key]
    ])
  }

  consumer_acls = flatten([
    for who, consumer in var.consumers : concat(
      [
        for pair in setproduct(["Read", "Describe"], local.consumer_topics[who]) : {
          principal = consumer.principal, operation = pair[0]
          type      = "Topic", name = pair[1], pattern = "Literal"
        }
      ],
      [
        for group in consumer.groups : {
          principal = consumer.principal, operation = "Read"
          type      = "Group", name = group, pattern = consumer.group_prefix ? "Prefixed" : "Literal"
        }
      ],
    )
  ])

  # Two consumers may be one principal with one group.
  acls = {
    for acl in concat(local.producer_acls, local.consumer_acls) :
    "${acl.principal} ${acl.operation} ${acl.type} ${acl.pattern} ${acl.name}" => acl...
  }
}

resource "kafka_acl" "this" {
  for_each = local.acls

  acl_principal                = each.value[0].principal
  acl_host                     = var.acl_host
  acl_operation                = each.value[0].operation
  acl_permission_type          = "Allow"
  resource_type                = each.value[0].type
  resource_name                = each.value[0].name
  resource_pattern_type_filter = each.value[0].pattern

  # An ACL of a topic that is not there yet is accepted, but then a refused topic leaves it behind.
  depends_on = [kafka_topic.this]
}
