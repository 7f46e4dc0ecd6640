/* Tests of the C interface: timers, mail, work on threads. */
#include <pthread.h>

#include "abi.h"

static wh_timer own_timer;
static wh_mailbox mailbox;
static int ticked, mailed, worked;

static int32_t cancels_itself(void *user)
{
    enter(user);
    IS(WH_OK, wh_timer_cancel(own_timer));
    IS(WH_ERR_HANDLE, wh_timer_cancel(own_timer));
    ticked++;
    leave(user);
    return WH_OK;
}

static int32_t fails_once(void *user)
{
    enter(user);
    ticked++;
    wh_fail_text(CHARS("a timer has failed"));
    leave(user);
    return WH_ERR_CALLBACK;
}

void timers(void)
{
    wh_timer timer, other;
    IS(WH_ERR_NULL, wh_timer_after(1, NULL, tally("no function"), destroy, &timer));
    IS(WH_ERR_NULL, wh_timer_after(1, of_process, tally("no place"), destroy, NULL));
    IS(WH_OK, wh_timer_every(0, of_process, tally("no time at all"), destroy, &timer));
    turn();
    IS(WH_OK, wh_timer_cancel(timer));
    IS(WH_OK, wh_timer_after(UINT64_MAX, of_process, tally("never"), destroy, &timer));
    IS(WH_OK, wh_timer_every(1, cancels_itself, tally("cancels itself"), destroy, &own_timer));
    until(&ticked, 1);
    IS(WH_OK, wh_timer_after(0, fails_once, tally("fails"), destroy, &other));
    until(&ticked, 2);
    IS(WH_ERR_HANDLE, wh_timer_cancel(other));
    IS(WH_OK, wh_timer_cancel(timer));
    IS(WH_ERR_HANDLE, wh_timer_cancel(timer));
    IS(WH_ERR_HANDLE, wh_timer_cancel(hive));
    /* Left to the end of the process. */
    IS(WH_OK, wh_timer_every(3600000, of_process, tally("is left"), destroy, &timer));
}

static int32_t frees_its_mailbox(void *user)
{
    enter(user);
    IS(WH_OK, wh_mailbox_free(mailbox));
    IS(WH_ERR_HANDLE, wh_mailbox_free(mailbox));
    mailed++;
    leave(user);
    return WH_OK;
}

static int32_t of_mail(void *user)
{
    mailed++;
    return of_process(user);
}

static void *posts(void *user)
{
    IS(WH_OK, wh_mailbox_post(mailbox, of_mail, user, destroy));
    return NULL;
}

void mailboxes(void)
{
    pthread_t thread;
    wh_mailbox left;
    IS(WH_ERR_NULL, wh_mailbox_new(NULL));
    IS(WH_OK, wh_mailbox_new(&mailbox));
    IS(WH_ERR_NULL, wh_mailbox_post(mailbox, NULL, tally("no function"), destroy));
    OK(!pthread_create(&thread, NULL, posts, tally("from a thread")));
    until(&mailed, 1);
    OK(!pthread_join(thread, NULL));
    IS(WH_OK, wh_mailbox_post(mailbox, frees_its_mailbox, tally("frees it"), destroy));
    until(&mailed, 2);
    REFUSED(wh_mailbox_post(mailbox, of_process, tally("too late"), destroy));
    /* Freed with a letter in it. */
    IS(WH_OK, wh_mailbox_new(&mailbox));
    IS(WH_OK, wh_mailbox_post(mailbox, of_process, tally("perhaps never read"), destroy));
    IS(WH_OK, wh_mailbox_free(mailbox));
    turn();
    IS(WH_OK, wh_mailbox_new(&left));
    IS(WH_OK, wh_mailbox_post(left, of_process, tally("is left"), destroy));
}

static void works(void *user)
{
    wh_timer timer;
    (void)user;
    IS(WH_ERR_THREAD, wh_stop_all(hive));
    IS(WH_ERR_THREAD, wh_conn_send(last, WH_TEXT, TEXT("from a thread")));
    /* Its user is destroyed on whichever thread the call fails. */
    IS(WH_ERR_THREAD, wh_timer_after(1, of_process, NULL, NULL, &timer));
    IS(WH_OK, wh_log(3, CHARS("from the pool")));
}

static int32_t has_worked(void *user)
{
    worked++;
    return of_process(user);
}

void blocking(void)
{
    IS(WH_ERR_NULL, wh_blocking(NULL, of_process, tally("no work"), destroy));
    IS(WH_OK, wh_blocking(works, has_worked, tally("work"), destroy));
    until(&worked, 1);
    wh_blocking(works, NULL, tally("without a second half"), destroy);
}
