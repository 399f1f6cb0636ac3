//! Fences by Ceph's blocklist: the disks of this cluster refuse every client from a fenced network.
//!
//! What was cut off stays cut off also after the fence is lifted, until it connects anew; so does an rbd-mirror, which has to be
//! started again.

use std::{ffi::OsStr, time::Duration};

use lifeboat_proto::fence::{
    Cidr, FenceClusterNetworkRequest, FenceClusterNetworkResponse, GetFenceClientsRequest,
    GetFenceClientsResponse, ListClusterFenceRequest, ListClusterFenceResponse,
    UnfenceClusterNetworkRequest, UnfenceClusterNetworkResponse,
    fence_controller_server::FenceController,
};
use serde::Deserialize;
use std::collections::HashMap;
use tonic::{Request, Response, Status};

use super::{Driver, volume::user};
use crate::ceph::rbd::{Rbd, run};

/// How long `ceph` may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a fence lasts that nobody lifts, in seconds: five years.
const FOR_GOOD: &str = "157784760";

/// An entry of the second list that `ceph osd blocklist ls` prints, that of networks.
#[derive(Deserialize)]
struct Range {
    /// `ADDRESS:0/BITS`.
    range: String,
}

impl Driver {
    async fn ceph(
        &self,
        secrets: &HashMap<String, String>,
        words: &[&str],
    ) -> Result<Vec<u8>, Status> {
        let rbd = Rbd::new(&self.config.conf, "").as_user(user(secrets)?);
        let first = rbd.identity();
        let all = first.iter().map(OsStr::new);
        let all = all.chain(words.iter().map(OsStr::new));
        let verb = format!("ceph {}", words.join(" "));
        let done = run("ceph", all, &verb, LIMIT, None).await;
        done.map_err(|e| Status::internal(e.to_string()))
    }

    async fn change(
        &self,
        secrets: &HashMap<String, String>,
        cidrs: &[Cidr],
        what: &[&str],
        more: &[&str],
    ) -> Result<(), Status> {
        if cidrs.is_empty() {
            return Err(Status::invalid_argument("no network is named"));
        }
        if let Some(wrong) = cidrs.iter().find(|c| !is_network(&c.cidr)) {
            return Err(Status::invalid_argument(format!(
                "{:?} is no network: ADDRESS/BITS is",
                wrong.cidr
            )));
        }
        for Cidr { cidr } in cidrs {
            let words: Vec<&str> = [what, &[cidr.as_str()], more].concat();
            self.ceph(secrets, &words).await?;
        }
        Ok(())
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// The networks in what `ceph osd blocklist ls --format json` prints: two lists, one after the other.
fn networks(printed: &[u8]) -> Result<Vec<Cidr>, serde_json::Error> {
    let lists = serde_json::Deserializer::from_slice(printed).into_iter::<Vec<serde_json::Value>>();
    let mut found = Vec::new();
    for entry in lists.collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        let Ok(Range { range }) = serde_json::from_value(entry) else {
            continue; // a single client, blocked by Ceph itself
        };
        if let Some((address, bits)) = range.rsplit_once(":0/") {
            let cidr = format!("{address}/{bits}");
            found.push(Cidr { cidr });
        }
    }
    Ok(found)
}

#[tonic::async_trait]
impl FenceController for Driver {
    async fn fence_cluster_network(
        &self,
        request: Request<FenceClusterNetworkRequest>,
    ) -> Result<Response<FenceClusterNetworkResponse>, Status> {
        let r = request.into_inner();
        let what = ["osd", "blocklist", "range", "add"];
        self.change(&r.secrets, &r.cidrs, &what, &[FOR_GOOD])
            .await?;
        Ok(Response::new(FenceClusterNetworkResponse {}))
    }

    async fn unfence_cluster_network(
        &self,
        request: Request<UnfenceClusterNetworkRequest>,
    ) -> Result<Response<UnfenceClusterNetworkResponse>, Status> {
        let r = request.into_inner();
        let what = ["osd", "blocklist", "range", "rm"];
        self.change(&r.secrets, &r.cidrs, &what, &[]).await?;
        Ok(Response::new(UnfenceClusterNetworkResponse {}))
    }

    async fn list_cluster_fence(
        &self,
        request: Request<ListClusterFenceRequest>,
    ) -> Result<Response<ListClusterFenceResponse>, Status> {
        let words = ["osd", "blocklist", "ls", "--format", "json"];
        let printed = self.ceph(&request.into_inner().secrets, &words).await?;
        let cidrs = networks(&printed)
            .map_err(|e| Status::internal(format!("the blocklist is not understood: {e}")))?;
        Ok(Response::new(ListClusterFenceResponse { cidrs }))
    }

    async fn get_fence_clients(
        &self,
        _: Request<GetFenceClientsRequest>,
    ) -> Result<Response<GetFenceClientsResponse>, Status> {
        // It would have to tell the addresses of the nodes, and there are none here.
        Err(Status::unimplemented("clients are not told"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_from_single_clients() {
        let printed = br#"
[{"addr":"127.0.0.9:0/0","until":"2026-11-21T21:48:14"}][{"range":"127.0.0.1:0/32","until":"2026-11-21T22:32:07"}]"#;
        let found = networks(printed).unwrap();
        let found: Vec<&str> = found.iter().map(|c| c.cidr.as_str()).collect();
        assert_eq!(found, ["127.0.0.1/32"]);
    }

    #[test]
    fn what_is_no_network_is_told() {
        for good in ["10.0.0.0/8", "fd00::/64", "127.0.0.1/32"] {
            assert!(is_network(good), "{good}");
        }
        for bad in ["10.0.0.0", "10.0.0.0/33", "shop/1", ""] {
            assert!(!is_network(bad), "{bad}");
        }
    }
}
