# What the example gives the bridge, held against deploy/examples/stream-webhook-to-sns.yaml with the account
# and the region of AWS's documentation. The provider is the real one and asks AWS nothing.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = module.identity.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.topics.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

run "the_configuration_is_the_shipped_one" {
  command = plan

  assert {
    condition = yamldecode(output.configuration) == {
      for key, value in yamldecode(file("../../../deploy/examples/stream-webhook-to-sns.yaml")) :
      key => value if key != "tests"
    }
    error_message = "The template and deploy/examples/stream-webhook-to-sns.yaml differ."
  }
}

run "with_fifo_topics_all_queues_are_fifo_too" {
  command = plan

  variables {
    fifo = true
  }

  assert {
    condition     = endswith(yamldecode(output.configuration).sinks.fanout.topic, "{provider}-{family}.fifo")
    error_message = "The sink's topic lacks `.fifo`."
  }

  assert {
    condition = alltrue([
      for queue in [aws_sqs_queue.consumer, aws_sqs_queue.consumer_dead] :
      queue.fifo_queue && endswith(queue.name, ".fifo")
    ])
    error_message = "A FIFO topic delivers to FIFO queues only."
  }
}

run "a_consumer_of_nothing_is_refused" {
  command = plan

  variables {
    consumer_families = []
  }

  expect_failures = [var.consumer_families]
}
