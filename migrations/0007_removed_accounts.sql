-- When the account was removed. Its row stays for the builds and releases that name it.
ALTER TABLE accounts ADD COLUMN removed_at BIGINT;
