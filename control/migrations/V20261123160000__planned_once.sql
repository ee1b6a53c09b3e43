-- Functions that read tables and give one value are planned once for each connection. PostgreSQL plans what is written in SQL anew for each
-- query that calls it, and where one such function calls another, for each row: of a page of a hundred sessions six sevenths of the time was
-- planning. In PL/pgSQL the same text keeps its plan. (Mere expressions stay: they become part of whatever calls them, and so do sets.)
-- Functions of later migrations are written so from the start; `control/tests/migration.rs` looks.
DO $rewrite$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT p.proname AS name, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
            CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END AS volatility,
            rtrim(p.prosrc, E' \n;') AS body
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname = 'sql' AND NOT p.proretset
          AND regexp_replace(p.prosrc, 'DISTINCT FROM|FROM ''', '', 'g') ~ '\mFROM\M|\mINSERT\M|\mUPDATE\M|\mDELETE\M'
    LOOP
        EXECUTE format(E'CREATE OR REPLACE FUNCTION %I(%s) RETURNS %s LANGUAGE plpgsql %s AS %L', f.name, f.arguments, f.result, f.volatility,
            -- As in SQL, a name that could be a column's or a parameter's is the column's.
            E'\n#variable_conflict use_column\nBEGIN\n'
            || CASE f.result WHEN 'void' THEN f.body ELSE E'    RETURN (\n' || f.body || ')' END || E';\nEND\n');
    END LOOP;
END
$rewrite$;

-- What weighs every agent of a zone takes longer to plan than to run, and its plan is the same whatever the zone.
DO $rewrite$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname IN ('place_v1', 'place_for_home_v1')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', f.name);
    END LOOP;
END
$rewrite$;
