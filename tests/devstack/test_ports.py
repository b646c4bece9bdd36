"""Ports stay the same from one start to the next, and a taken one is said aloud."""

import json
import socket

import pytest

from isekai.devstack.ports import GRPC_OFFSET, HOST, RememberedPorts, free_ports, is_free


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_wanted_port_is_taken_and_remembered(tmp_path, said):
    [wanted] = free_ports(1)
    assert RememberedPorts(tmp_path / "ports.json", {"web": wanted}, said.append).take("web") == wanted
    assert RememberedPorts(tmp_path / "ports.json", {"web": 4000}, said.append).take("web") == wanted
    assert said == []


def test_a_taken_port_is_named_and_another_one_is_kept_from_then_on(tmp_path, said):
    [wanted] = free_ports(1)
    with socket.socket() as somebody:
        somebody.bind((HOST, wanted))
        somebody.listen()
        another = RememberedPorts(tmp_path / "ports.json", {"web": wanted}, said.append).take("web")
    assert another != wanted
    assert said == [f"Port {wanted} for web is taken by another program; web is on {another} from now on."]
    assert is_free(wanted)
    assert RememberedPorts(tmp_path / "ports.json", {"web": wanted}, said.append).take("web") == another


def test_only_who_needs_the_second_port_moves_when_that_is_taken(tmp_path, said):
    [wanted] = free_ports(1)
    ports = RememberedPorts(tmp_path / "ports.json", {"web": wanted, "s3": wanted}, said.append)
    with socket.socket() as somebody:
        somebody.bind((HOST, wanted + GRPC_OFFSET))
        somebody.listen()
        assert ports.take("web") == wanted
        assert ports.take("s3", with_grpc=True) != wanted


def test_two_parts_never_get_the_same_port(tmp_path, said):
    ports = RememberedPorts(tmp_path / "ports.json", {}, said.append)
    taken = {ports.take(f"part {number}") for number in range(20)}
    assert len(taken) == 20


def test_an_unreadable_file_of_ports_is_replaced(tmp_path, said):
    [wanted] = free_ports(1)
    (tmp_path / "ports.json").write_text("{")
    assert RememberedPorts(tmp_path / "ports.json", {"web": wanted}, said.append).take("web") == wanted
    assert json.loads((tmp_path / "ports.json").read_text()) == {"web": wanted}


def test_free_ports_leave_room_for_the_second_port_of_each_server():
    found = free_ports(20)
    assert len({*found, *(port + GRPC_OFFSET for port in found)}) == 40
