# Which topics there are, by PROVIDER.FAMILY, and how the bridge spells them. The catalogue is the bridge's
# own.

locals {
  catalogue = tomap({
    for provider, entry in jsondecode(file("${path.module}/../../families.json")).providers :
    provider => toset(entry.families[*].family)
  })

  # An empty list stands for the whole catalogue of its provider.
  chosen = merge(var.custom_families, {
    for provider, families in var.families :
    provider => length(families) > 0 ? families : try(local.catalogue[provider], families)
  })

  pairs = merge(flatten([
    for provider, families in local.chosen : [
      for family in families : { "${provider}.${family}" = { provider = provider, family = family } }
    ]
  ])...)

  suffix = var.fifo ? ".fifo" : ""

  # A topic of SNS has no dots: those of provider and family become dashes.
  topics = {
    for key, pair in local.pairs : key => "${replace(
      replace(var.topic_template, "{provider}", replace(pair.provider, ".", "-")),
      "{family}", replace(pair.family, ".", "-")
    )}${local.suffix}"
  }

  names = toset(values(local.topics))

  arn_prefix = join(":", [
    "arn", data.aws_partition.current.partition, "sns", data.aws_region.current.region,
    data.aws_caller_identity.current.account_id,
  ])
  arn_template = "${local.arn_prefix}:${var.topic_template}${local.suffix}"
}
