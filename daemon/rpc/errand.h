#pragma once
/*
 * errand: something an io thread has done by another one: a message that goes there, does its
 * work and comes back, perhaps more than once. What it carries stands in the struct that embeds
 * it. There and home may be the same thread.
 *
 * Threads:   errand_start(), errand_again() and errand_end() at home; work() runs there, where
 * errand_stay() and errand_return() are called, and back() at home. Fields belong to whoever has
 * the errand at the moment.
 * Ownership: the embedding struct frees itself in back(), after errand_end(). An io thread does not
 * stop while an errand of its own is out (io->n_away), nor before the other io threads have none.
 * Errors:    none: the way there and back needs no memory.
 */
#include "rpc/io.h"

struct request;

struct errand {
    struct mail mail;
    struct io *home, *there;
    struct request *request; /* who waits for it; touched at home only. NULL: nobody any more */
    bool stopping;           /* there, the broker was stopping when work() began; or at its return,
                              * after errand_stay() */
    bool stays;              /* there, until errand_return() */
    void (*work)(struct errand *errand);
    void (*back)(struct errand *errand);
};

void errand_start(struct errand *errand, struct io *home, struct io *there,
                  void (*work)(struct errand *errand), void (*back)(struct errand *errand));
/* In work(): it is not done yet; somebody there calls errand_return() when it is. */
void errand_stay(struct errand *errand);
void errand_return(struct errand *errand);
/* In back(): once more. */
void errand_again(struct errand *errand, void (*work)(struct errand *errand),
                  void (*back)(struct errand *errand));
/* In back(): that was all. */
void errand_end(struct errand *errand);
