//! Makes the sinks of a bridge.

use std::sync::Arc;

use super::BridgeError;
use super::open::blocking;
use crate::aws::Aws;
use crate::sink::file::{FileSink, UnusableDirectory};
use crate::sink::kafka::KafkaSink;
use crate::sink::sns::SnsSink;
use crate::sink::{Output, Sink, SinkOptions};

/// Makes a sink from its configuration.
///
/// # Errors
/// When a property is refused, or a directory cannot be used or is another sink's.
pub(super) async fn make_sink(config: &SinkOptions, aws: &Aws) -> Result<Arc<dyn Sink>, BridgeError> {
    let carried = &config.attributes;
    let made: Result<Arc<dyn Sink>, Box<dyn std::error::Error + Send + Sync>> = match &config.output {
        Output::Kafka(kafka) => {
            let (name, kafka, carried) = (config.name.clone(), kafka.clone(), carried.clone());
            // The client reads the files of its certificates.
            match blocking(move || Ok(KafkaSink::new(&name, &kafka, &carried))).await? {
                Ok(sink) => Ok(Arc::new(sink)),
                Err(error) => Err(error.into()),
            }
        }
        Output::Sns(sns) => Ok(Arc::new(SnsSink::new(&config.name, sns, carried, aws).await)),
        Output::File(file) => {
            let (file, carried) = (file.clone(), carried.clone());
            match blocking(move || Ok(FileSink::new(&file, &carried))).await? {
                Ok(sink) => Ok(Arc::new(sink)),
                Err(source @ UnusableDirectory::Taken(_)) => {
                    return Err(BridgeError::SinkInUse { name: config.name.clone(), source });
                }
                Err(error) => Err(error.into()),
            }
        }
    };
    made.map_err(|source| BridgeError::Sink { name: config.name.clone(), source })
}
