-- What is changed is written down with where that came from, also where the function that writes it is not told: the Web App node says so with
-- a setting of the connection, for as long as the change takes ("address request").

CREATE FUNCTION audit_origin_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.address = '' THEN
        NEW.address := split_part(current_setting('meridian.origin', true), ' ', 1);
    END IF;
    IF NEW.request_id = '' THEN
        NEW.request_id := split_part(current_setting('meridian.origin', true), ' ', 2);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER audit_origin BEFORE INSERT ON audit FOR EACH ROW
    WHEN (coalesce(current_setting('meridian.origin', true), '') <> '')
    EXECUTE FUNCTION audit_origin_v1();
