#include "rpc/errand.h"

static void on_back(struct mail *mail)
{
    struct errand *errand = container_of(mail, struct errand, mail);
    ASSERT_OWNER(errand->home->loop);
    errand->back(errand);
}

static void on_there(struct mail *mail)
{
    struct errand *errand = container_of(mail, struct errand, mail);
    ASSERT_OWNER(errand->there->loop);
    errand->stopping = errand->there->state != IO_RUNNING;
    errand->stays = false;
    errand->work(errand);
    if (!errand->stays)
        errand_return(errand);
}

void errand_stay(struct errand *errand)
{
    ASSERT_OWNER(errand->there->loop);
    errand->stays = true;
}

void errand_return(struct errand *errand)
{
    ASSERT_OWNER(errand->there->loop);
    if (errand->stays)
        errand->stopping = errand->there->state != IO_RUNNING;
    errand->mail.deliver = on_back;
    loop_post(errand->home->loop, &errand->mail);
}

void errand_again(struct errand *errand, void (*work)(struct errand *errand),
                  void (*back)(struct errand *errand))
{
    ASSERT_OWNER(errand->home->loop);
    errand->work = work;
    errand->back = back;
    errand->mail.deliver = on_there;
    loop_post(errand->there->loop, &errand->mail);
}

void errand_start(struct errand *errand, struct io *home, struct io *there,
                  void (*work)(struct errand *errand), void (*back)(struct errand *errand))
{
    errand->home = home;
    errand->there = there;
    home->n_away++;
    errand_again(errand, work, back);
}

void errand_end(struct errand *errand)
{
    struct io *home = errand->home;
    ASSERT_OWNER(home->loop);
    ASSERT(home->n_away > 0);
    home->n_away--;
    io_check_drained(home);
}
