# Sorts the stacks of `perf script -F ip,sym` by the stage of an event that they belong to, and prints each
# stage's part of `each`, which is what an event takes of all of them, in `unit`. A stack belongs to the first
# stage that any of its frames names.
function stage(s) {
    if (s ~ /fdatasync/) return "fdatasync"
    if (s ~ /pwrite/) return "write"
    if (s ~ /file_check/) return "check of the file's name"
    if (s ~ /spool::frame::encode|codec::encode/) return "encode"
    if (s ~ /LocalWindow/) return "duplicate window"
    if (s ~ /make_visible|committer::reply/) return "readers and answers woken"
    if (s ~ /spool::writer::|Committer/) return "the writer's other work"
    if (s ~ /poll_flush|poll_write<fanbridge/) return "answer sent"
    if (s ~ /poll_read_from_io|poll_read<fanbridge/) return "request received"
    if (s ~ /Http1Transaction>::parse|poll_read_head/) return "head"
    if (s ~ /digest_id/) return "digest"
    if (s ~ /provider::verify|HmacScheme|provider::claim|provider::offer/) return "signature"
    if (s ~ /json::scan/) return "scan"
    if (s ~ /admit::|normalise/) return "admission"
    if (s ~ /Spool::store|mpsc::bounded/) return "queue"
    if (s ~ /metrics|TypesSeen|noted/) return "counting"
    if (s ~ /http::body::|BodyPermit/) return "body"
    if (s ~ /acknowledgement|Http1Transaction>::encode|write_head/) return "answer written"
    if (s ~ /fanbridge::source/) return "front"
    if (s ~ /hyper::/) return "HTTP"
    if (s ~ /park|epoll|schedul|wake|futex|worker::/) return "scheduling"
    return "elsewhere"
}
/^[ \t]*$/ { if (stack != "") { count[stage(stack)]++; all++ } stack = ""; next }
{ $1 = ""; stack = stack " |" $0 }
END { for (name in count) printf "%6.2f %s  %4.1f %%  %s\n", each * count[name] / all, unit, 100 * count[name] / all, name }
