-- The devices of an application in the order of registration: a list of the newest sorted all of them.
CREATE INDEX device_of_application ON device (application_id);
