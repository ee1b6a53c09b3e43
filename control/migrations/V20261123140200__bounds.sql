-- Zones and workspaces are answered whole, to everybody who opens a page: there are no more of them than that is good for. Whatever makes
-- them, one by one or from files, is refused beyond it. Arguments: the bound, what is counted, and how many say so in words.
CREATE FUNCTION bounded_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_there bigint;
BEGIN
    -- Two who make the last one that may be come one after the other.
    PERFORM pg_advisory_xact_lock(hashtext('the number of ' || TG_TABLE_NAME));
    EXECUTE format('SELECT count(*) FROM %I WHERE %s', TG_TABLE_NAME, TG_ARGV[1]) INTO v_there;
    IF v_there > TG_ARGV[0]::bigint THEN
        RAISE EXCEPTION 'A deployment may have % %', TG_ARGV[0], TG_ARGV[2]
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_bound';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER zones_bound AFTER INSERT ON zones FOR EACH STATEMENT EXECUTE FUNCTION bounded_v1('1000', 'true', 'zones');
CREATE TRIGGER workspaces_bound AFTER INSERT ON workspaces
    FOR EACH STATEMENT EXECUTE FUNCTION bounded_v1('1000', 'deleted_at IS NULL', 'workspaces');
