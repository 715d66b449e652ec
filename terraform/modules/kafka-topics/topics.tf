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

  topics = merge(flatten([
    for provider, families in local.chosen : [
      for family in families : {
        "${provider}.${family}" = replace(
          replace(var.topic_template, "{provider}", provider), "{family}", family
        )
      }
    ]
  ])...)

  # Two families with one topic are one topic.
  names = toset(values(local.topics))

  overrides = {
    for name, found in {
      for key, override in var.overrides :
      local.topics[key] => override... if contains(keys(local.topics), key)
    } : name => found[0]
  }
}
