//! Each way in which a delivery or a record can end is a step.
