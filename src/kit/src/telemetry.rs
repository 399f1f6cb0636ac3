//! Logs to standard error, and traces to a collector when one is named.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The variable that names a collector; without it no trace leaves the process.
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Where the Kubernetes client tells what an API server answered, Secrets included, when it cannot read it. Whoever
/// called is told of the error all the same.
const ANSWERS: [&str; 2] = ["kube_client::client", "kube_runtime::watcher"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter makes no sense.
    #[error("could not read the log filter {filter:?}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter of traces could not be made.
    #[error("could not set up the export of traces")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// It was set up before.
    #[error("telemetry is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends out what is left when dropped. Keep it for as long as the process runs.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // Nobody is left to tell.
            let _ = provider.shutdown();
        }
    }
}

/// What `wanted` lets through, and nothing that may hold an answer of an API server, whatever was asked for.
fn discreet<S>(wanted: EnvFilter) -> impl Filter<S>
where
    EnvFilter: Filter<S>,
{
    let safe = |m: &Metadata<'_>| !(m.is_event() && ANSWERS.contains(&m.target()));
    wanted.and(filter_fn(safe))
}

/// Starts logging as `service`. The variable `RUST_LOG` replaces `filter`, such as `info` or `lifeboat_agent=debug,info`.
pub fn init(
    service: &'static str,
    format: LogFormat,
    filter: &str,
) -> Result<Telemetry, TelemetryError> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let parsed =
        EnvFilter::try_new(&filter).map_err(|source| TelemetryError::Filter { filter, source })?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(colours())
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let collector = std::env::var(COLLECTOR).ok();
    let provider = collector.map(|c| provider(service, &c)).transpose()?;
    let traces = provider
        .as_ref()
        .map(|p| tracing_opentelemetry::layer().with_tracer(p.tracer(service)));
    let all =
        tracing_subscriber::registry().with(lines.and_then(traces).with_filter(discreet(parsed)));
    all.try_init().map_err(TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

/// Colours are for a person at a terminal who did not refuse them; in a pod's log they are noise.
fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !refused
}

/// Sends in batches, from within a tokio runtime.
fn provider(service: &'static str, collector: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(collector)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name(service)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
        TraceService, TraceServiceServer,
    };
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use std::future::IntoFuture as _;
    use std::sync::Arc;

    use axum::http::StatusCode;
    use axum::routing::get;
    use k8s_openapi::api::core::v1::Secret;
    use parking_lot::Mutex;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response, Status};

    use super::*;

    /// What was written to a log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_in_no_log() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .with_filter(discreet(EnvFilter::new("trace")));
        let _logs = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

        // A Secret that is no Secret, and words that are no Status.
        let app = axum::Router::new()
            .route(
                "/api/v1/namespaces/a/secrets/good",
                get("{\"data\": \"hunter2\"}"),
            )
            .fallback(|| async { (StatusCode::BAD_GATEWAY, "the upstream said hunter3") });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, app).into_future());
        let client = kube::Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
        let secrets = kube::Api::<Secret>::namespaced(client, "a");
        assert!(secrets.get("good").await.is_err());
        assert!(secrets.get("bad").await.is_err());
        tracing::warn!(target: "kube_client::config", "said by the client");

        let told = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert!(told.contains("said by the client"), "{told}");
        assert!(!told.contains("hunter"), "{told}");
    }

    struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: Request<ExportTraceServiceRequest>,
        ) -> Result<Response<ExportTraceServiceResponse>, Status> {
            self.0.send(request.into_inner()).unwrap();
            Ok(Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_reach_the_collector_before_the_process_ends() {
        let (sender, mut received) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Collector(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);

        let provider = provider("lifeboat-test", &address).unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let telemetry = Telemetry {
            provider: Some(provider),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let outer = tracing::info_span!("reconcile", placement = "shop/shop");
            outer.in_scope(|| tracing::info_span!("step", step = "Promote").in_scope(|| ()));
        });
        tokio::task::spawn_blocking(move || drop(telemetry))
            .await
            .unwrap();

        let export = received.recv().await.unwrap();
        let all = &export.resource_spans[0];
        let service = format!("{:?}", all.resource);
        assert!(service.contains("lifeboat-test"), "{service}");
        let spans = &all.scope_spans[0].spans;
        let find = |name: &str| spans.iter().find(|s| s.name == name).unwrap();
        assert_eq!(find("step").parent_span_id, find("reconcile").span_id);
    }
}
