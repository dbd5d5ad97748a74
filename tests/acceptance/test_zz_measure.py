import os, signal, time
from unattended_home import Unattended
def test_kills(tmp_path, database_url):
    with Unattended.opened(tmp_path, database_url) as u:
        u.daemon.start()
        u.comes_to_be(u.launch("wait_a_moment"), "completed")
        for i in range(5):
            pid, worker = u.held("hold_on")
            time.sleep(0.9*i)
            t=time.monotonic(); os.kill(worker, signal.SIGKILL)
            u.comes_to_be(pid, "failed")
            print("noticed after", round(time.monotonic()-t,1), os.getloadavg())
def test_answer_latency(tmp_path, database_url):
    from unattended_home import answers_by
    with Unattended.opened(tmp_path, database_url) as u:
        u.daemon.start()
        for i in range(4):
            a=u.launch("ask"); u.comes_to_be(a,"suspended")
            time.sleep(1.2*i)
            t=time.monotonic(); u.launch("answer", other=str(a))
            u.comes_to_be(a,"completed")
            print("answered in step to completed", round(time.monotonic()-t,1))
def test_stock_terminate(tmp_path, database_url):
    with Unattended.opened(tmp_path, database_url, stock=True) as u:
        u.daemon.start()
        p,_=u.held("hold_on")
        print("cancel", u.wfo.instance.run_coordinator.cancel_run(str(p)))
        time.sleep(3); print(u.process(p).status, u.wfo.instance.get_run_by_id(str(p)).status)
        u.let_go_on(p)
        print(u.ended(str(p)).status, u.process(p))
        for r in u.process(p).steps: print(r.step, r.status, r.name)
        u.comes_to_be(p,"aborted")
