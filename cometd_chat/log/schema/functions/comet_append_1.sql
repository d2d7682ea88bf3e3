-- Append drafts and ring the bell. One statement, so that whoever holds the lock never waits for a
-- client. A draft whose (sender, client_id) is there already fails all of them: unique_violation.
--
-- Ids are the order of commits: the lock is held until the commit has ended, and each statement of a
-- volatile function sees what was committed before it began, if the transaction is READ COMMITTED.
-- What is in use by any release stays as it is; what is changed gets another number.
CREATE FUNCTION comet_append_1(
    contexts text[], types text[], senders text[], authors text[], said text[], refs bigint[],
    client_ids text[], bell text,
    OUT base bigint, OUT stamp bigint, OUT epoch_number bigint
) LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'comet_append_1 needs READ COMMITTED';
    END IF;
    PERFORM pg_advisory_xact_lock(1668246885, 1);
    SELECT greatest((SELECT max(r.id) FROM records r), e.first_id - 1), e.number
        INTO STRICT base, epoch_number FROM epochs e ORDER BY e.number DESC LIMIT 1;
    stamp := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    INSERT INTO records (id, context, type, sender, author, data, refers, client_id, at)
        SELECT base + d.n, d.context, d.type, d.sender, d.author, d.data, d.refers, d.client_id, stamp
        FROM unnest(contexts, types, senders, authors, said, refs, client_ids) WITH ORDINALITY
            AS d (context, type, sender, author, data, refers, client_id, n);
    PERFORM pg_notify(
        'comet_chat', concat_ws(' ', base + 1, base + cardinality(contexts), epoch_number, stamp, bell)
    );
END $$
