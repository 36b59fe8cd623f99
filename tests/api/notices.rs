//! Lists of notices and of the history, part by part.

use serde_json::Value;
use serde_json::json;
use webex_sim::Settings;

use super::harness::ApiServer;

#[tokio::test]
async fn the_last_part_of_notices_and_of_the_history_names_no_next_one() {
    let server = ApiServer::with_settings(Settings::default(), &[("NOTIFY_COMMAND", "/bin/false")]).await;
    for name in ["a", "b", "c", "d"] {
        server.create_key(json!({ "name": name })).await;
    }
    for (path, field) in [("/history", "entries"), ("/notices", "notices")] {
        let first = server.get(&format!("{path}?limit=2")).await.json();
        let before = first["next"].as_str().unwrap();
        let last = server.get(&format!("{path}?limit=2&before={before}")).await.json();
        let items = [&first, &last].map(|part| part[field].as_array().unwrap().clone());
        assert_eq!([items[0].len(), items[1].len()], [2, 2], "{path}");
        assert_eq!(last["next"], Value::Null, "{path}");
        let whole = server.get(&format!("{path}?limit=4")).await.json();
        assert_eq!((&whole[field], &whole["next"]), (&json!(items.concat()), &Value::Null), "{path}");
        for wrong in ["", "0", "-1", "%2B1", "x", "99999999999999999999"] {
            let refused = server.get(&format!("{path}?before={wrong}")).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{path} {wrong}");
        }
    }
}
