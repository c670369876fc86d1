#include "rpc/consult.h"

static void withdraw(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.consult->request = NULL;
}

void consult_control(struct consult *consult, struct request *request, struct mail *mail)
{
    struct io *io = request->client->io;

    ASSERT_OWNER(io->loop);
    *consult = (struct consult){.home = io, .request = request};
    request->op.consult = consult;
    request->withdraw = withdraw;
    io->n_away++;
    loop_post(io->shared->control, mail);
}

struct request *consult_back(struct consult *consult)
{
    ASSERT_OWNER(consult->home->loop);
    if (consult->request)
        consult->request->withdraw = NULL;
    return consult->request;
}

void consult_over(struct io *home)
{
    home->n_away--;
    io_check_drained(home);
}
