terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
    kafka = {
      source  = "Mongey/kafka"
      version = ">= 0.13"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = var.tags
  }
}

# MSK with IAM: credentials come from where the AWS provider has them.
provider "kafka" {
  bootstrap_servers = var.msk.brokers
  tls_enabled       = true
  sasl_mechanism    = "aws-iam"
  sasl_aws_region   = var.region
}
