-- The careful twin of comet_append_1: drafts whose (sender, client_id) is there already are not
-- appended again. For each draft, in order: the id that it has, and whether it had it before.
CREATE FUNCTION comet_append_known_1(
    contexts text[], types text[], senders text[], authors text[], said text[], refs bigint[],
    client_ids text[]
) RETURNS TABLE (record_id bigint, stamp bigint, epoch_number bigint, known boolean)
LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
    added bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'comet_append_known_1 needs READ COMMITTED';
    END IF;
    PERFORM pg_advisory_xact_lock(1668246885, 1);
    SELECT greatest((SELECT max(r.id) FROM records r), e.first_id - 1), e.number
        INTO STRICT base, epoch_number FROM epochs e ORDER BY e.number DESC LIMIT 1;
    stamp := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    FOR n IN 1 .. cardinality(contexts) LOOP
        record_id := NULL;
        IF client_ids[n] IS NOT NULL THEN
            SELECT r.id INTO record_id FROM records r
                WHERE r.sender = senders[n] AND r.client_id = client_ids[n];
        END IF;
        known := record_id IS NOT NULL;
        IF NOT known THEN
            added := added + 1;
            record_id := base + added;
            INSERT INTO records (id, context, type, sender, author, data, refers, client_id, at)
                VALUES (record_id, contexts[n], types[n], senders[n], authors[n], said[n], refs[n],
                        client_ids[n], stamp);
        END IF;
        RETURN NEXT;
    END LOOP;
    IF added > 0 THEN
        PERFORM pg_notify(
            'comet_chat', concat_ws(' ', base + 1, base + added, epoch_number, stamp)
        );
    END IF;
END $$
