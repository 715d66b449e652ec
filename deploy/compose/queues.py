"""Runs in the emulator once it is ready: a queue of events for the bridge, and one that reads its topic."""

import json

import boto3

REGION = "eu-west-1"
ARN = f"arn:aws:sqs:{REGION}:000000000000:"


def client(service):
    """A client of this emulator, which takes any key."""
    return boto3.client(
        service,
        endpoint_url="http://localhost:4566",
        region_name=REGION,
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
    )


sqs, sns = client("sqs"), client("sns")
sqs.create_queue(QueueName="stream-events-dead", Attributes={"MessageRetentionPeriod": "1209600"})
redrive = {"deadLetterTargetArn": ARN + "stream-events-dead", "maxReceiveCount": "5"}
sqs.create_queue(QueueName="stream-events", Attributes={"RedrivePolicy": json.dumps(redrive)})
sqs.create_queue(QueueName="billing-inbox")
topic = sns.create_topic(Name="billing")["TopicArn"]
sns.subscribe(
    TopicArn=topic,
    Protocol="sqs",
    Endpoint=ARN + "billing-inbox",
    Attributes={"RawMessageDelivery": "true"},
)
