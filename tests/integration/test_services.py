from tests.integration import services


def test_processes_that_test_side_by_side_choose_from_ports_of_their_own():
    shares = [
        services._own_ports({"PYTEST_XDIST_WORKER": f"gw{i}", "PYTEST_XDIST_WORKER_COUNT": "2"}) for i in range(2)
    ]
    assert sorted(shares[0] + shares[1]) == list(services.PORTS)
    assert sorted(services._own_ports({})) == list(services.PORTS)


def test_no_port_is_given_twice_though_nobody_listens_on_it_yet():
    ports = [port for _ in range(3) for port in services.free_ports(20)]
    assert len(set(ports)) == 60
